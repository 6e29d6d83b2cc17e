"""The page's sentences and tables as HTML; everything that a user wrote is escaped."""

from __future__ import annotations

from html import escape

import numpy as np

from smilevlm.predict import Prediction
from smilevlm.web.jobs import ModelFacts
from smilevlm.web.pictures import angle_in_words, bars, figure, percent, sorted_shares, weight_bars
from smilevlm.web.settings import WebSettings
from smilevlm.web.work import Overlays, Prompts


def message(sentence: str, *, is_error: bool = False) -> str:
    """One sentence for the top of the page."""
    if not sentence:
        return ""
    text = sentence[0].upper() + sentence[1:]
    kind, role = ("message error", "alert") if is_error else ("message", "status")
    return f'<p class="{kind}" role="{role}">{escape(text if text[-1] in ".!?" else text + ".")}</p>'


def headline(prediction: Prediction, name: str, prompts: Prompts, facts: ModelFacts) -> str:
    """The label, how sure it is, and all probabilities."""
    label = escape(prediction.label)
    if prompts is not None:
        # The level to say so belongs to the trained classes.
        verdict, note = label, f"the likeliest of your classes, at {percent(prediction.confidence)}"
    elif prediction.is_confident:
        verdict, note = label, f"{percent(prediction.confidence)} probable"
    else:
        verdict = "not sure"
        least = percent(facts.abstain_threshold)
        note = f"most likely {label} at {percent(prediction.confidence)}, below the {least} to say so"
    if prediction.calibrated:
        trust = "Probabilities are calibrated on people held back from training."
    elif prompts is None:
        trust = "Probabilities are not calibrated: read them as a ranking."
    else:
        trust = "These are your own classes, so the probabilities are not calibrated: read them as a ranking."
    what = f"sequence of {prediction.num_frames} frames" if prediction.is_sequence else "scan"
    if prediction.bad_frames:
        what += f", {len(prediction.bad_frames)} more could not be used"
    strongest = prediction.label if prediction.is_confident or prompts is not None else None
    return (
        f'<div class="answer"><p class="what">{escape(name)} · {what}</p>'
        f'<p class="verdict">{verdict}</p><p class="note">{note}</p>'
        f'{bars(sorted_shares(dict(prediction.probabilities)), strongest=strongest)}<p class="small">{trust}</p></div>'
    )


def views_section(prediction: Prediction) -> str:
    """The images the model saw, and what each of them counted."""
    pictures = zip(prediction.views, prediction.view_weights, strict=True)
    shown = "".join(figure(image, angle_in_words(angle)) for image, angle in pictures)
    if prediction.is_sequence:
        title = "The three dynamic images" if len(prediction.views) == 3 else "The dynamic images"
        text = "Each sums up how one view changes over the sequence; grey is where nothing moves."
    else:
        title = "The three views" if len(prediction.views) == 3 else "The views"
        text = "What the model looks at: the colour of a point says which way the surface faces and how deep it lies."
    return (
        f'<section><h3>{title}</h3><p class="small">{text}</p><div class="figures">{shown}</div>'
        f"<h3>How much each view counted</h3>{weight_bars(dict(prediction.view_weights))}</section>"
    )


def relevance_section(prediction: Prediction, overlays: Overlays) -> str:
    """Which parts of the face spoke for the label."""
    pictures = zip(overlays, prediction.view_weights, strict=True)
    shown = "".join(figure(np.ascontiguousarray(image), angle_in_words(angle)) for image, angle in pictures)
    return (
        f"<section><h3>What speaks for “{escape(prediction.label)}”</h3>"
        '<p class="small">Orange speaks for it, blue against it, compared with the other classes (integrated '
        f'gradients).</p><div class="figures">{shown}</div></section>'
    )


def details(prediction: Prediction) -> str:
    """How the face was found, and where the time went."""
    face, took = prediction.face, prediction.seconds
    rows = {
        "Face found with confidence": percent(face.confidence),
        "Mean face covered": percent(face.fit_share),
        "Unit of the file": f"{face.unit} ({face.mm_per_unit:g} mm)",
        "Meshes used": f"{prediction.num_frames}",
        **({"Remarks": ". ".join(prediction.remarks)} if prediction.remarks else {}),
        "Time": f"{took.total:.2f} s: reading {took.read:.2f}, finding the face {took.face:.2f}, "
        f"views {took.views:.2f}, network {took.network:.2f}",
    }
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    return f"<section><h3>How it was found</h3><dl>{cells}</dl></section>"


def introduction() -> str:
    """The top of the page."""
    return (
        "<header><h1>smilevlm</h1><p>What expression does a 3D face show? Drop a scan, or a zip of a sequence’s "
        "frames. Any unit, turned any way.</p></header>"
    )


def disclaimer(facts: ModelFacts, settings: WebSettings) -> str:
    """What everyone should know before believing an answer."""
    faces = "This model was trained on synthetic faces only. " if facts.synthetic else ""
    return (
        f'<footer class="small"><p>{faces}An expression is not an emotion: it shows what a face does, not what a '
        "person feels, thinks or intends. Do not decide anything about anybody by it.</p><p>Your file is deleted once "
        "it is answered, all else when you leave; nothing is kept, and the page asks no other server. At most "
        f"{settings.max_upload_mb} MB, {settings.max_vertices:,} vertices, {settings.max_frames} frames, "
        f"{settings.timeout_s} seconds.</p></footer>"
    )
