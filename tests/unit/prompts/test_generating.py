"""Prompts from a language model, against a server on this machine that speaks the real protocol."""

from __future__ import annotations

import json
import socket
import sys

import grimp
import pytest

from builders_prompts import ChatServer, Reply, WordTower, chat_server, completion, described, refusal
from smilevlm.errors import EndpointError, MissingExtraError, PromptError, SettingsError
from smilevlm.prompts import load_prompt_set
from smilevlm.prompts.endpoint import ChatEndpoint, read_key, resolve_url
from smilevlm.prompts.generating import SYSTEM, GenerateSettings, generate_prompts, read_prompts

KEY = "sk-very-secret-123"
TOWER = WordTower(["pain", "calm"])
PAIN = ("a face in pain", "pain on the face")
CALM = ("a calm face", "a face at ease, calm")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    with chat_server() as running:
        yield running


@pytest.fixture
def generate(server, tmp_path):
    """Generate a set of pain and calm; gives what `generate_prompts` gives."""

    def run(
        *, url: str | None = None, key: str | None = KEY, num_retries: int = 2, resume=False, progress=None, **asked
    ):
        settings = GenerateSettings(**{"classes": ("pain", "calm"), "model": "stub", "per_class": 2} | asked)
        more = {} if progress is None else {"progress": progress}
        with ChatEndpoint(url or server.url, key=key, num_retries=num_retries) as endpoint:
            return generate_prompts(
                settings, tmp_path / "out" / "mine.yaml", endpoint=endpoint, tower=TOWER, resume=resume, **more
            )

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def files_in(folder) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_what_came_is_written_with_where_it_is_from(generate, server, out):
    server.replies += [described("pain", *PAIN), described("calm", *CALM)]
    steps: list[tuple[int, int]] = []
    generated = generate(temperature=0.5, seed=7, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(0, 2), (1, 2), (2, 2)]
    assert generated.path == out / "mine.yaml"
    assert files_in(out) == {"mine.yaml"}
    prompt_set = load_prompt_set(out / "mine.yaml")
    assert prompt_set == generated.prompt_set
    assert dict(prompt_set.prompts) == {"pain": PAIN, "calm": CALM}
    assert prompt_set.name == "mine"
    assert prompt_set.provenance.generated_by == "the language model stub"
    assert len(prompt_set.provenance.date) == len("2026-11-23")
    generation = prompt_set.provenance.generation
    assert (generation.model, generation.answered_by, generation.endpoint) == ("stub", ("stub-1.2",), server.url)
    assert (generation.temperature, generation.seed, generation.asked_per_class) == (0.5, 7, 2)
    assert generation.kept == {"pain": 2, "calm": 2}
    assert (generation.num_duplicates, generation.num_surplus) == (0, 0)
    assert generation.system == SYSTEM
    assert "[CLS]" in generation.instruction


def test_the_server_is_asked_as_the_protocol_says(generate, server):
    server.replies += [described("pain", *PAIN), described("calm", *CALM)]
    generated = generate(temperature=0.5, seed=7, about="a dentist's chair", language="de")
    instruction = generated.prompt_set.provenance.generation.instruction
    assert [request.path for request in server.requests] == ["/v1/chat/completions"] * 2
    for request, class_name in zip(server.requests, ("pain", "calm"), strict=True):
        assert request.method == "POST"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        assert set(request.json) == {"model", "messages", "temperature", "seed"}
        assert (request.json["model"], request.json["temperature"], request.json["seed"]) == ("stub", 0.5, 7)
        assert [message["role"] for message in request.json["messages"]] == ["system", "user"]
        assert request.messages == {"system": SYSTEM, "user": instruction.replace("[CLS]", class_name)}
        for said in ("pain, calm", "Write 2 ", "a dentist's chair", '"de"', f'{{"{class_name}": ['):
            assert said in request.messages["user"]


def test_what_is_left_to_the_server_is_not_sent(generate, server):
    server.replies += [described("pain", *PAIN), described("calm", *CALM)]
    generate(key=None)
    assert set(server.requests[0].json) == {"model", "messages"}
    assert KEY not in server.requests[0].headers["authorization"]


@pytest.mark.parametrize(
    "text",
    [
        '{"pain": ["a", "b"]}',
        ' \n{"pain": [" a ", "b\\n"]}\n',
        '```json\n{"pain": ["a", "b"]}\n```',
        '```\n{"pain": ["a", "b"]}\n```\n',
        'Here you are:\n```json\n{\n "pain": ["a", "b"]\n}\n```\nAnything else?',
        '<think>\n{"calm": 1}? no\n</think>\n\n{"pain": ["a", "b"]}',
    ],
)
def test_code_fences_and_thoughts_are_taken_off(text):
    assert read_prompts(text, "pain") == ("a", "b")


NOT_AS_ASKED = {
    "no JSON": (completion("Sure! 1. a face in pain"), "did not answer with JSON"),
    "half of it": (completion('{"pain": ["a face'), "did not answer with JSON"),
    "no text": (completion(None), "has no text"),
    "another class": (described("agony", "a", "b"), "for 'agony' instead of 'pain'"),
    "a class too many": (completion('{"pain": ["a"], "calm": ["b"]}'), "for 'pain', 'calm' instead of 'pain'"),
    "no class": (completion("{}"), "for no class instead of 'pain'"),
    "a list": (completion('["a", "b"]'), "for list instead of 'pain'"),
    "one text": (completion('{"pain": "a"}'), "list of texts"),
    "numbers": (completion('{"pain": [1, 2]}'), "list of texts"),
    "nothing": (completion('{"pain": []}'), "list of texts"),
    "an empty text": (completion('{"pain": ["a", " "]}'), "empty text"),
    "a slot": (completion('{"pain": ["a [CLS] face"]}'), "left [CLS] in one"),
    "an escape": (completion('{"pain": ["a \\u001b[31m face"]}'), "control characters"),
    "half a character": (completion('{"pain": ["a \\ud800 face"]}'), "control characters"),
    "cut off": (completion('{"pain": ["a"]}', finish="length"), "cut off at the server's length limit"),
    "held back": (completion('{"pain": ["a"]}', finish="content_filter"), "content filter"),
    "declined": (completion(None, refusal="I cannot help with that"), "declined: I cannot help"),
    "no choices": (Reply('{"choices": []}'), "no chat completion"),
    "no completion": (Reply('{"hello": 1}'), "no chat completion"),
    "broken JSON": (Reply('{"choices": [{'), 'something else than a JSON object: \'{"choices"'),
    "a web page": (Reply("<html>a proxy</html>", content_type="text/html"), "something else than a JSON object"),
}


@pytest.mark.parametrize("case", list(NOT_AS_ASKED))
def test_an_answer_that_is_not_what_was_asked_is_kept_and_said(generate, server, out, case):
    reply, expected = NOT_AS_ASKED[case]
    server.replies.append(reply)
    with pytest.raises(EndpointError) as caught:
        generate()
    message = str(caught.value)
    assert message.startswith("class 'pain': ")
    assert expected in message
    assert message.endswith(f"the whole answer is in {out / 'mine.answer0.txt'}")
    assert "\n" not in message
    assert files_in(out) == {"mine.answer0.txt"}
    assert (out / "mine.answer0.txt").read_text() == reply.body
    assert len(server.requests) == 1, "an answer is not asked for twice: it may cost"


REFUSED = {
    "refused key": (refusal(401, "Incorrect key"), "the key was refused: 401 Incorrect key", 1),
    "no right": (refusal(403, "not yours"), "this key may not use model 'stub': 403 not yours", 1),
    "unknown model": (refusal(404, "no such model"), "model 'stub' or this address is not known there: 404 no such", 1),
    "bad request": (refusal(400, "no seed here"), "the request was refused: 400 no seed here", 1),
    "too often": (refusal(429, "slow down"), "tried again in vain: 429 slow down", 3),
    "server down": (refusal(500, "oops"), "the server fails, tried again in vain: 500 oops", 3),
    "gateway": (
        Reply("<h1>Bad\n Gateway</h1>", status=502, headers={"retry-after-ms": "1"}, content_type="text/html"),
        "502 <h1>Bad Gateway</h1>",
        3,
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_the_server_refuses_is_one_line(generate, server, out, case):
    reply, expected, num_requests = REFUSED[case]
    server.replies += [reply] * num_requests
    with pytest.raises(EndpointError) as caught:
        generate(num_retries=2)
    message = str(caught.value)
    assert message.startswith(f"{server.url}: ")
    assert expected in message
    assert "\n" not in message
    assert len(server.requests) == num_requests
    assert files_in(out) == set()


def test_a_missing_key_is_told_from_a_wrong_one(generate, server):
    server.replies.append(refusal(401, "who are you?"))
    with pytest.raises(EndpointError, match=r"none was given; set OPENAI_API_KEY: 401 who are you\?"):
        generate(key=None)


@pytest.mark.parametrize("first", [refusal(429, "slow down"), refusal(503, "starting")])
def test_a_passing_failure_is_tried_again(generate, server, first):
    server.replies += [first, described("pain", *PAIN), described("calm", *CALM)]
    generated = generate()
    assert dict(generated.prompt_set.prompts) == {"pain": PAIN, "calm": CALM}
    assert len(server.requests) == 3
    assert server.requests[0].body == server.requests[1].body


def test_an_unreachable_server(generate, out):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else can, and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(EndpointError, match=r"127\.0\.0\.1:\d+/v1: cannot be reached: .*refused"):
            generate(url=url, num_retries=0)
    assert files_in(out) == set()


def half_done(generate, server: ChatServer) -> None:
    """The first class comes, the second does not."""
    server.replies += [described("pain", *PAIN), refusal(401, "expired")]
    with pytest.raises(EndpointError, match="expired"):
        generate()
    server.requests.clear()


def test_what_came_is_kept_and_only_the_rest_is_asked_for(generate, server, out):
    half_done(generate, server)
    assert files_in(out) == {"mine.yaml.part.json"}
    server.replies.append(described("calm", *CALM))
    steps: list[tuple[int, int]] = []
    generated = generate(resume=True, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 2), (2, 2)]
    assert len(server.requests) == 1
    assert 'of the class "calm"' in server.requests[0].messages["user"]
    assert dict(generated.prompt_set.prompts) == {"pain": PAIN, "calm": CALM}
    assert files_in(out) == {"mine.yaml"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"resume": False}, r"mine\.yaml\.part\.json: .*--resume"),
        ({"model": "other"}, "model was 'stub' and is 'other'"),
        ({"temperature": 1.0, "seed": 3}, r"temperature was None and is 1\.0; seed was None and is 3"),
        ({"classes": ("pain", "joy")}, "classes was"),
    ],
)
def test_answers_to_other_questions_are_not_mixed(generate, server, changes, match):
    half_done(generate, server)
    with pytest.raises(PromptError, match=match):
        generate(**{"resume": True} | changes)
    assert server.requests == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"asked": {}, "answers": []}', '{"asked": {}, "answers": {"pain": 3}}', b"\xff"]
)
def test_damaged_answers_are_named(generate, server, out, content):
    half_done(generate, server)
    part = out / "mine.yaml.part.json"
    part.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PromptError, match=r"mine\.yaml\.part\.json: damaged"):
        generate(resume=True)


def test_a_file_that_is_there_stays(generate, server, out):
    out.mkdir()
    (out / "mine.yaml").write_text("precious")
    for resume in (False, True):
        with pytest.raises(PromptError, match=r"mine\.yaml: is there already"):
            generate(resume=resume)
    assert (out / "mine.yaml").read_text() == "precious"
    assert server.requests == []


def test_duplicates_and_what_is_too_much_are_dropped_and_counted(generate, server):
    server.replies += [
        described("pain", "A face in pain.", "a face, in pain", "pain on the face", "pain again", "yet more pain"),
        described("calm", "a  FACE in pain!", *CALM),
    ]
    generated = generate()
    assert dict(generated.prompt_set.prompts) == {"pain": ("A face in pain.", "pain on the face"), "calm": CALM}
    generation = generated.prompt_set.provenance.generation
    assert (generation.num_duplicates, generation.num_surplus) == (2, 2)
    assert generation.kept == {"pain": 2, "calm": 2}


def test_fewer_than_asked_for_is_kept_as_it_is(generate, server):
    server.replies += [described("pain", *PAIN), described("calm", *CALM)]
    generated = generate(per_class=5)
    assert generated.prompt_set.provenance.generation.kept == {"pain": 2, "calm": 2}
    assert generated.prompt_set.provenance.generation.asked_per_class == 5


def test_a_class_of_duplicates_alone_is_an_error(generate, server, out):
    server.replies += [described("pain", *PAIN), described("calm", *PAIN)]
    with pytest.raises(EndpointError, match="every prompt of class 'calm' stands in an earlier class"):
        generate()
    assert files_in(out) == {"mine.yaml.part.json"}


def test_a_set_with_faults_is_written_beside(generate, server, out):
    long = "calm " * 20
    server.replies += [described("pain", *PAIN), described("calm", "a calm face", long)]
    generated = generate()
    assert generated.path == out / "mine.faulty.yaml"
    assert files_in(out) == {"mine.faulty.yaml", "mine.yaml.part.json"}
    (fault,) = [fault for fault in generated.report.faults if fault.kind == "too_long"]
    assert fault.path == generated.path
    assert generated.path.read_text().splitlines()[fault.line - 1].strip().startswith("- calm calm")
    with pytest.raises(PromptError, match=r"mine\.faulty\.yaml: is there already"):
        generate(resume=True)


def test_the_key_is_nowhere(generate, server, out):
    server.replies += [described("pain", f"pain and {KEY}", "pain"), completion(f"your key is {KEY}")]
    with pytest.raises(EndpointError) as caught:
        generate()
    server.replies += [refusal(401, f"Incorrect key {KEY}")]
    with pytest.raises(EndpointError) as refused:
        generate(resume=True)
    assert files_in(out) == {"mine.yaml.part.json", "mine.answer1.txt"}
    for text in (str(caught.value), str(refused.value), *(path.read_text() for path in out.iterdir())):
        assert KEY not in text
    assert "[key]" in str(refused.value)


def test_the_address_is_kept_without_what_may_be_secret(generate, server):
    server.replies += [described("pain", *PAIN), described("calm", *CALM)]
    url = server.url.replace("http://", "http://me:word@")
    generated = generate(url=url)
    assert generated.prompt_set.provenance.generation.endpoint == server.url


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ()},
        {"classes": ("pain", "pain")},
        {"classes": ("pain", "")},
        {"classes": ('a "pain"',)},
        {"classes": ("[CLS]",)},
        {"per_class": 0},
        {"per_class": 101},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"language": "English, please"},
    ],
)
def test_settings_out_of_range(changes):
    with pytest.raises(SettingsError):
        GenerateSettings(**{"classes": ("pain", "calm"), "model": "stub"} | changes)


def test_where_the_address_comes_from(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert resolve_url(None) == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://here:1/v1")
    assert resolve_url(None) == "http://here:1/v1"
    assert resolve_url("http://there:2/v1") == "http://there:2/v1"


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://host/v1", "http://", "http://[::1", "http://host:99999"])
def test_what_is_no_address(url):
    with pytest.raises(SettingsError, match="http://localhost:8000/v1"):
        resolve_url(url)


def test_the_key_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    assert read_key("MY_KEY") == KEY
    monkeypatch.setenv("MY_KEY", " ")
    assert read_key("MY_KEY") is None
    monkeypatch.setenv("MY_KEY", "schlüssel")
    with pytest.raises(SettingsError, match=r"^MY_KEY holds characters that no key has$"):
        read_key("MY_KEY")


def test_the_models_of_a_server(server):
    server.replies += [Reply(json.dumps({"object": "list", "data": [{"id": "a"}, {"id": "b"}]})), Reply('{"data": 3}')]
    with ChatEndpoint(server.url) as endpoint:
        assert endpoint.models() == ["a", "b"]
        with pytest.raises(EndpointError, match="give --model"):
            endpoint.models()
    assert [(request.method, request.path) for request in server.requests] == [("GET", "/v1/models")] * 2


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"smilevlm\[prompts\]"):
        ChatEndpoint("http://localhost:1/v1")


def test_nothing_that_trains_or_predicts_can_ask_a_language_model():
    graph = grimp.build_graph("smilevlm", include_external_packages=True)
    asking = {"smilevlm.prompts.endpoint", "smilevlm.prompts.generating"}
    assert graph.find_modules_that_directly_import("openai") == {"smilevlm.prompts.endpoint"}
    for room in ("training", "predict", "evaluation", "recipes", "datasets", "models"):
        for module in asking:
            chains = graph.find_shortest_chains(f"smilevlm.{room}", module, as_packages=True)
            assert chains == set(), f"{room} reaches {module}"
    assert graph.find_modules_that_directly_import("smilevlm.prompts.generating") == {"smilevlm.cli.prompts_generate"}
