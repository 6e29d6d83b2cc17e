"""What a study says, in plain sentences that follow from its numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

from smilevlm.reporting.study_comparisons import Comparison
from smilevlm.reporting.study_source import LoadedStudy
from smilevlm.reporting.study_statistics import FUSED, UNSEEN_WORDINGS, Pooled, chance, difference, pooled_or_missing
from smilevlm.reporting.table import Missing, cell_text


def what_was_measured(study: LoadedStudy) -> list[str]:
    """People, samples, seeds and folds, by setting; first of all whether the faces are real."""
    synthetic = [setting.title for setting in study.study.settings if study.synthetic(setting.name)]
    sentences = []
    if len(synthetic) == len(study.study.settings):
        sentences.append(
            "All own numbers here are from synthetic faces: scans of people who do not exist, made by a program. They "
            "show that the method runs, learns and can be compared with itself; they say nothing of how it does on "
            "people and do not compare with the published numbers, which were measured on people."
        )
    elif synthetic:
        sentences.append(
            f"The own numbers of {_list(synthetic)} are from synthetic faces and do not compare with the published "
            "numbers, which were measured on people."
        )
    num_runs = sum(len(group.runs) for group in study.groups.values())
    sentences.append(
        f"The study has {num_runs} trained runs in {_count(len(study.study.settings), 'setting')}, profile "
        f"“{study.study.profile}”."
    )
    return sentences


def people_by_setting(study: LoadedStudy) -> list[str]:
    """One sentence per setting on who was trained on and tested."""
    sentences = []
    for setting in study.study.settings:
        group = study.group(setting.name, "full")
        scores = pooled_or_missing(group, FUSED)
        if isinstance(scores, Missing):
            sentences.append(f"{setting.title}: {scores.reason}.")
            continue
        folds = group.folds
        trained = sorted({len(fold.train_subjects) for fold in folds})
        people = f"{trained[0]} to {trained[-1]}" if len(trained) > 1 else str(trained[0])
        faces = "synthetic people" if study.synthetic(setting.name) else "people"
        level = f"{group.results[0].level}s"
        sentences.append(
            f"{setting.title}, {study.data(setting.name)}: {_count(scores.num_units, 'unit')} "
            f"({_count(scores.num_seeds, 'seed')}, {_folds(len(folds) / len(group.results), folds[0].num_folds)}), "
            f"each trained on {people} {faces} and tested on others; in all {scores.num_subjects} different test "
            f"people and {scores.num_samples} test {level}."
        )
    return sentences


def findings(
    study: LoadedStudy, views: Sequence[Comparison], ablations: Sequence[Comparison], probes: Sequence[Comparison]
) -> list[str]:
    """The key findings.

    Args:
        study: The study.
        views: `view_comparisons`.
        ablations: `ablation_comparisons` of the reading by prompts.
        probes: `ablation_comparisons` of the linear probe.
    """
    sentences = [
        _against_chance(study),
        _against_views(study, views),
        _with_unseen_wordings(study),
        *_ablation_sentences(study, ablations, "accuracy with prompts"),
        # Their accuracy with prompts is told above, all but that of the method that knows no text.
        *_ablation_sentences(
            study, [each for each in probes if each.second[0] == "multi_view_alone"], "accuracy of a linear probe"
        ),
        _against(study, "supervised", FUSED, "the same tower trained with labels in the loss"),
        _against(study, "full", "linear_probe", "a linear probe, fitted with labels on its own frozen features"),
        _against(study, "untrained", "linear_probe", "a linear probe on the tower with fresh weights"),
    ]
    return [sentence for sentence in sentences if sentence]


def _against_chance(study: LoadedStudy) -> str:
    texts = []
    for setting in study.study.settings:
        scores = pooled_or_missing(study.group(setting.name, "full"), FUSED)
        if isinstance(scores, Missing):
            continue
        level = chance(study.results(setting.name))
        majority = pooled_or_missing(study.group(setting.name, "full"), "majority")
        shuffled = pooled_or_missing(study.group(setting.name, "shuffled_prompts"), FUSED)
        others = [f"chance {_percent(level)}"] if isinstance(level, float) else []
        others += [f"most frequent class {_percent(majority.mean)}"] if isinstance(majority, Pooled) else []
        others += [f"shuffled prompts {_percent(shuffled.mean)}"] if isinstance(shuffled, Pooled) else []
        texts.append(f"{setting.title} {_percent(scores.mean)} % ({', '.join(others)})")
    title = study.method("full").title
    faces = " on synthetic faces" if study.study.synthetic else ""
    return f"Accuracy of {title} on unseen people, with prompts{faces}: {'; '.join(texts)}." if texts else ""


def _with_unseen_wordings(study: LoadedStudy) -> str:
    """What the words of training are worth: the same models, asked in other words for the same classes."""
    texts = []
    for setting in study.study.settings:
        scores = pooled_or_missing(study.group(setting.name, "full"), UNSEEN_WORDINGS)
        if not isinstance(scores, Missing):
            texts.append(f"{setting.title} {_percent(scores.mean)} %")
    faces = " on synthetic faces" if study.study.synthetic else ""
    what = "Zero-shot accuracy with wordings that training never had, of classes that it had"
    return f"{what}{faces}: {'; '.join(texts)}." if texts else ""


def _against_views(study: LoadedStudy, comparisons: Sequence[Comparison]) -> str:
    """All views against every single one; a setting counts where all its single views could be compared."""
    better, significant, compared = [], [], []
    for setting in study.study.settings:
        single = [c for c in comparisons if c.setting == setting.name and isinstance(c.second[1], float)]
        gains = [each.gain for each in single if not isinstance(each.gain, Missing)]
        if not single or len(gains) < len(single):
            continue
        compared.append(setting.title)
        if all(gain.mean > 0 for gain in gains):
            better.append(setting.title)
            if all(each.is_significant for each in single):
                significant.append(setting.title)
    if not compared:
        return ""
    significant_in = _list(significant) if significant else "none of them"
    return (
        f"All views fused are better than every single view in {len(better)} of {_count(len(compared), 'setting')}"
        f"{f' ({_list(better)})' if better else ''}; all of these differences are told from zero (Holm, 5 %) in "
        f"{significant_in}."
    )


def _ablation_sentences(study: LoadedStudy, comparisons: Sequence[Comparison], what: str) -> list[str]:
    sentences = []
    for method in dict.fromkeys(each.second[0] for each in comparisons):
        found = [
            (each, each.gain) for each in comparisons if each.second[0] == method and not isinstance(each.gain, Missing)
        ]
        if not found:
            continue
        lower = [each for each, gain in found if gain.mean > 0]
        higher = [each for each, gain in found if gain.mean < 0]
        significant = [each for each in (*lower, *higher) if each.is_significant]
        largest, gain = max(found, key=lambda pair: abs(pair[1].mean))
        significant_in = _list([study.title(each.setting) for each in significant]) if significant else "no setting"
        sentences.append(
            f"“{study.method(method).title}” against the full method, {what}: lower in {len(lower)} and higher in "
            f"{len(higher)} of {_count(len(found), 'setting')}, largest difference "
            f"{cell_text(-gain.mean, 'points')} points ({study.title(largest.setting)}); told from zero (Holm, 5 %) in "
            f"{significant_in}."
        )
    return sentences


def _against(study: LoadedStudy, method: str, reading: str, what: str) -> str:
    """The full method's accuracy with prompts against another row of the tables, over the units that both have."""
    lower, compared = [], 0
    for setting in study.study.settings:
        gain = difference(study.group(setting.name, "full"), FUSED, study.group(setting.name, method), reading)
        if isinstance(gain, Missing):
            continue
        compared += 1
        if gain.mean < 0:
            lower.append(f"{setting.title}, {cell_text(gain.mean, 'points')} points")
    if not compared:
        return ""
    where = f" ({'; '.join(lower)})" if lower else ""
    count = f"{len(lower)} of {_count(compared, 'setting')}"
    return f"Classification by prompts is below {what} in {count}{where}, by means over common units."


def _percent(share: float) -> str:
    return cell_text(share, "percent")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _folds(run: float, planned: int) -> str:
    return f"{run:g} of {planned} folds each" if run != planned else f"all {planned} folds"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
