#!/usr/bin/env bash
# The main job on synthetic faces, one command per stage. Run it again after an interruption: it goes on.
set -euo pipefail
out=${1:?usage: demo.sh FOLDER}
jobs=${JOBS:-2}
started=$SECONDS

stage() {
    local begun=$SECONDS
    printf '\n$ smilevlm %s\n' "$*"
    smilevlm "$@"
    printf '[%d s, %d s since the start]\n' $((SECONDS - begun)) $((SECONDS - started))
}

stage synthesize bu3dfe "$out/faces" --subjects 100 --seed 1 --levels 3,4 --vertices 4000 --texture-size 128 \
    --only-cropped --jobs "$jobs"
stage prepare bu3dfe "$out/faces" "$out/store" --jobs "$jobs"
stage train demo --store "$out/store" --out "$out/run" --jobs "$jobs" --fold 0 --fold 1 --resume
stage evaluate "$out/run" --store "$out/store"
# Someone whom the model of fold 0 never saw.
scan=$(python - "$out" <<'PYTHON'
import json, pathlib, sys
out = pathlib.Path(sys.argv[1])
subject = json.loads((out / "run/fold_00/fold.json").read_text())["test_subjects"][0]
print(next(iter(sorted((out / "faces" / subject).glob("*_HA04*_F3D.wrl")))))
PYTHON
)
stage predict "$scan" --model "$out/run"
stage report "$out/run" --out "$out/report"
printf '\n%s\n' "$out/report/index.html"
