"""`smilevlm prompts`: tables for people, JSON for programs, exit codes for scripts."""

from __future__ import annotations

import json
import sys

import pytest

from builders_prompts import HEAD, Reply, WordTower, chat_server, described, refusal
from smilevlm.cli import main
from smilevlm.labels import BASIC_EXPRESSIONS, MICRO_EXPRESSIONS
from smilevlm.prompts import available_prompt_sets, load_prompt_set

KEY = "sk-very-secret-123"
PAIN, CALM = ("a face in pain", "pain on the face"), ("a calm face", "a face at ease, calm")
SOUND = HEAD + "prompts:\n  pain: [pain on a face, a face in pain]\n  calm: [calm on this face, this calm face]\n"
ACTIONS = ("list", "check", "generate", "captions")


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("smilevlm.prompts.load_text_tower", lambda name: WordTower(["pain", "calm"]))


@pytest.fixture
def prompts(capsys):
    """Run `smilevlm prompts`; gives its exit code, stdout, and the lines of stderr without the progress bar."""

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        code = main(["prompts", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        return code, captured.out, [line for line in captured.err.splitlines() if line.startswith("smilevlm")]

    return run


@pytest.fixture
def server():
    with chat_server() as running:
        yield running


def rows(out: str) -> list[str]:
    return [" ".join(line.replace("│", " ").split()) for line in out.splitlines()]


@pytest.mark.parametrize("action", ACTIONS)
def test_every_command_has_help_with_an_example_that_parses(action, capsys):
    import shlex

    from smilevlm.cli.main import build_parser

    with pytest.raises(SystemExit) as ended:
        main(["prompts", action, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"usage: smilevlm prompts {action}" in text
    example = text.partition("Example: ")[2]
    assert example.startswith(f"smilevlm prompts {action} ")
    parsed = build_parser().parse_args(shlex.split(example)[1:])
    assert (parsed.command, parsed.called) == ("prompts", f"prompts {action}")


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(["prompts", "--help"])
    text = capsys.readouterr().out
    assert all(action in text for action in ACTIONS)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["check"],
        ["check", "a", "--classes", "x,x"],
        ["check", "a", "--classes", "x,"],
        ["check", "a", "--classes", "x", "--protocol", "bp4d"],
        ["generate", "--classes", "x"],
    ],
)
def test_what_cannot_be_parsed_ends_with_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["prompts", *arguments])
    assert ended.value.code == 2
    assert "usage: smilevlm prompts" in capsys.readouterr().err


def test_list_shows_every_set(prompts):
    code, out, errors = prompts("list")
    assert (code, errors) == (0, [])
    for name in available_prompt_sets():
        (row,) = [row for row in rows(out) if row.startswith(f"{name} ")]
        prompt_set = load_prompt_set(name)
        assert row.startswith(f"{name} {len(prompt_set.classes)}: {', '.join(prompt_set.classes[:3])}, ")
        assert f" {len(prompt_set.texts)} {prompt_set.provenance.source[:7]}" in row


def test_list_as_json(prompts):
    code, out, _ = prompts("list", "--json")
    assert code == 0
    listed = {entry["name"]: entry for entry in json.loads(out)}
    assert tuple(listed) == available_prompt_sets()
    assert listed["micro_expressions"]["classes"] == list(MICRO_EXPRESSIONS)
    assert listed["basic_expressions"]["num_prompts"] == 18
    keys = {"source", "date", "generated_by", "generation", "chosen_on"}
    assert set(listed["basic_expressions"]["provenance"]) == keys


def test_list_of_one_set_counts_tokens(prompts, tmp_path):
    (tmp_path / "mine.yaml").write_text(SOUND)
    code, out, _ = prompts("list", tmp_path / "mine.yaml")
    assert code == 0
    assert out.startswith("mine: me; 2026; made by hand\n")
    assert "pain pain on a face 6" in rows(out)
    assert "this calm face 5" in rows(out)
    code, out, _ = prompts("list", tmp_path / "mine.yaml", "--json")
    entry = json.loads(out)
    assert entry["prompts"]["calm"] == [
        {"text": "calm on this face", "tokens": 6},
        {"text": "this calm face", "tokens": 5},
    ]
    assert (entry["token_limit"], entry["text_tower"]) == (12, "minilm")


def test_check_of_a_sound_set_ends_with_0(prompts, tmp_path):
    (tmp_path / "mine.yaml").write_text(SOUND)
    code, out, errors = prompts("check", tmp_path / "mine.yaml")
    assert (code, errors) == (0, [])
    assert "4 prompts, the longest of 6 tokens (limit 12)" in out
    assert any(row.startswith("pain 2 1.00 -") for row in rows(out))
    assert rows(out)[-1].startswith("0 faults, ")


def test_check_of_a_faulty_set_ends_with_1(prompts, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SOUND + "  joy:\n    - Pain, on a face!\n")
    code, out, errors = prompts("check", path)
    assert code == 1
    assert f"fault: {path}:7: 'Pain, on a face!' differs in punctuation alone from line 4, of 'pain'" in out
    assert errors == [f"smilevlm prompts check: error: {path}: 1 fault"]


def test_check_as_json(prompts, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SOUND)
    code, out, errors = prompts("check", path, "--json", "--classes", "pain,calm,joy")
    assert (code, len(errors)) == (1, 1)
    report = json.loads(out)
    assert report["is_sound"] is False
    assert report["num_prompts"] == {"pain": 2, "calm": 2}
    assert report["similarities"][0][0] == 1
    (fault,) = [finding for finding in report["findings"] if finding["severity"] == "fault"]
    assert (fault["kind"], fault["class"], fault["path"], fault["line"]) == ("missing_class", "joy", str(path), 3)


def test_check_for_a_protocol(prompts):
    code, out, _ = prompts("check", "basic_expressions", "--protocol", "bp4d", "--json")
    assert code == 1
    report = json.loads(out)
    missing = [finding["class"] for finding in report["findings"] if finding["kind"] == "missing_class"]
    assert missing == ["embarrassment", "pain"]
    assert tuple(report["num_prompts"]) == BASIC_EXPRESSIONS


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["list", "no_such_set"], "no_such_set"),
        (["check", "no_such_set"], "no_such_set"),
        (["check", "basic_expressions", "--protocol", "folder"], "names no classes; give them with --classes"),
        (["check", "basic_expressions", "--protocol", "nonsense"], "no protocol 'nonsense'"),
        (["check", "{broken}"], "{broken}:1: not YAML"),
        (["generate", "--classes", "a", "--out", "{tmp}/x.yaml", "--endpoint", "here"], "no address like"),
        (["generate", "--classes", "a", "--out", "{tmp}/x.yaml", "--retries", "-1"], "--retries"),
        (["generate", "--classes", "a", "--out", "{tmp}/x.yaml", "--model", "m", "--temperature", "9"], "temperature"),
    ],
)
def test_what_a_user_can_mend_is_one_line(prompts, tmp_path, arguments, match):
    places = {"tmp": tmp_path, "broken": tmp_path / "broken.yaml"}
    places["broken"].write_text("prompts: {a: [x}\n")
    code, out, errors = prompts(*(argument.format(**places) for argument in arguments))
    assert (code, out) == (1, "")
    assert len(errors) == 1
    assert errors[0].startswith(f"smilevlm prompts {arguments[0]}: error: ")
    assert match.format(**places) in errors[0]


def test_generate_writes_a_set_that_check_and_list_take(prompts, server, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    server.replies += [described("pain", *PAIN), described("calm", *CALM)]
    out_file = tmp_path / "new.yaml"
    options = ["--model", "stub", "--per-class", "2", "--temperature", "0.5", "--seed", "3", "--about", "dentists"]
    code, out, errors = prompts("generate", "--classes", "pain, calm", "--out", out_file, *options)
    assert (code, errors) == (0, [])
    assert f"{out_file}: of 2 asked for per class by stub: pain 2, calm 2; dropped 0 duplicates" in out
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"] * 2
    sent = server.requests[0].json
    assert (sent["model"], sent["temperature"], sent["seed"]) == ("stub", 0.5, 3)
    assert "dentists" in server.requests[0].messages["user"]
    assert KEY not in out + out_file.read_text()
    assert prompts("check", out_file)[0] == 0
    listed = json.loads(prompts("list", out_file, "--json")[1])
    assert listed["provenance"]["generation"]["model"] == "stub"


def test_generate_takes_the_only_model_and_another_key(prompts, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    models = Reply(json.dumps({"object": "list", "data": [{"id": "local", "object": "model"}]}))
    server.replies += [models, described("pain", *PAIN), described("calm", *CALM)]
    arguments = ["--classes", "pain,calm", "--out", tmp_path / "new.yaml", "--endpoint", server.url]
    assert prompts("generate", *arguments, "--key-variable", "MY_KEY")[0] == 0
    assert [request.path for request in server.requests] == ["/v1/models"] + ["/v1/chat/completions"] * 2
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert server.requests[1].json["model"] == "local"


def test_generate_wants_a_choice_of_models(prompts, server, tmp_path):
    server.replies.append(Reply(json.dumps({"data": [{"id": f"m{number}"} for number in range(12)]})))
    code, _, errors = prompts("generate", "--classes", "a", "--out", tmp_path / "x.yaml", "--endpoint", server.url)
    assert code == 1
    assert errors[0].endswith("offers 12 models; choose with --model: m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, ...")


def test_generate_says_how_to_go_on(prompts, server, tmp_path, capsys):
    server.replies += [described("pain", *PAIN), refusal(404, "gone")]
    out_file = tmp_path / "new.yaml"
    arguments = ["generate", "--classes", "pain,calm", "--out", out_file, "--endpoint", server.url, "--model", "stub"]
    assert prompts(*arguments)[0] == 1
    code, _, errors = prompts(*arguments)
    assert code == 1
    assert "--resume" in errors[0]
    server.replies.append(described("calm", *CALM))
    assert prompts(*arguments, "--resume")[0] == 0
    assert dict(load_prompt_set(out_file).prompts) == {"pain": PAIN, "calm": CALM}


def test_generate_does_not_hide_faults(prompts, server, tmp_path):
    server.replies += [described("pain", *PAIN), described("calm", *CALM, "a face in much pain")]
    out_file = tmp_path / "new.yaml"
    arguments = ["--classes", "pain,calm", "--out", out_file, "--endpoint", server.url, "--model", "stub"]
    code, out, errors = prompts("generate", *arguments)
    assert code == 1
    assert f"fault: {tmp_path / 'new.faulty.yaml'}:" in out
    assert f"so the set lies here and not at {out_file}" in errors[0]
    assert not out_file.exists()
    assert len(load_prompt_set(tmp_path / "new.faulty.yaml").prompts["calm"]) == 3


def test_generate_without_the_library_names_the_extra(prompts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    code, _, errors = prompts("generate", "--classes", "a", "--out", tmp_path / "x.yaml")
    assert code == 1
    assert "smilevlm[prompts]" in errors[0]


def test_a_stopped_generate_says_what_is_kept(prompts, monkeypatch, tmp_path):
    def stop(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("smilevlm.cli.prompts_generate.run", stop)
    code, _, errors = prompts("generate", "--classes", "a", "--out", tmp_path / "x.yaml")
    assert code == 130
    assert errors[-1].endswith("run it with --resume again")


def test_captions_of_given_actions(prompts):
    code, out, _ = prompts("captions", "--actions", "12:0.8/0, AU6", "--number", 4, "--json")
    (face,) = json.loads(out)
    assert code == 0
    assert face["actions"] == {"AU6": [0.5, 0.5], "AU12": [0.8, 0.0]}
    assert len(face["captions"]) == 4
    assert all(set(each["mentions"]) <= {"AU6", "AU12"} for each in face["captions"])
    assert prompts("captions", "--actions", "12:0.8/0,AU6", "--number", 4, "--json")[1] == out
    assert prompts("captions", "--actions", "12:0.8/0,AU6", "--number", 4, "--json", "--seed", 1)[1] != out


def test_captions_of_the_built_in_faces(prompts):
    code, out, _ = prompts("captions", "--number", 2)
    assert code == 0
    assert "AU43 0.9/0" in out
    assert any(row.startswith("none ") for row in rows(out))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--actions", "AU99"], "'AU99' is no facial action"),
        (["--actions", "AU12:2"], "'AU12:2'; expected CODE"),
        (["--actions", "AU12:much"], "'AU12:much'; expected CODE"),
        (["--number", 0], "--number must be 1 or more"),
        (["--seed", -1], "--seed 0 or more"),
    ],
)
def test_captions_refuse_what_is_no_face(prompts, arguments, message):
    code, _, errors = prompts("captions", *arguments)
    assert code == 1
    assert message in errors[-1]


def test_check_of_the_phrases(prompts, monkeypatch):
    monkeypatch.setattr("smilevlm.prompts.load_text_tower", lambda name: WordTower(["eyes", "mouth"], token_limit=40))
    code, out, _ = prompts("check", "action_phrases")
    assert code == 0
    assert any(row.startswith("held-out statements nearer to another action") for row in rows(out))
    assert "left and right: mean cosine 1.00" in out
    report = json.loads(prompts("check", "action_phrases", "--json")[1])
    assert {"num_phrases", "findings", "side_cosine", "text_tower"} <= set(report)
    monkeypatch.setattr("smilevlm.prompts.load_text_tower", lambda name: WordTower(["eyes"], token_limit=9))
    code, _, errors = prompts("check", "action_phrases")
    assert code == 1
    assert "fault" in errors[-1]


def test_check_of_the_phrases_has_no_classes(prompts):
    code, _, errors = prompts("check", "action_phrases", "--classes", "happy")
    assert code == 1
    assert "has no classes" in errors[-1]
