#!/bin/sh
# sh bench/peers/run.sh [--avx2] [--quick] [--filter TEXT] [--json FILE]
# Runs softlook and its peers (PyTorch, ONNX Runtime, OpenVINO) in alternation, prints times and ratios,
# and draws them. Installs what is missing: compiler, Eigen and Python's venv on Debian and Ubuntu, the
# peers by pip into build/peers/venv. A peer that cannot be installed is named and left out. CXX chooses
# the compiler of softlook's side. bench/README.md says what is compared.
set -eu
me=bench/peers/run.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
started=$(date +%s)
. "$root/cmake/setup.sh"

case ${1:-} in
  -h | --help)
    sed -n '2,7s/^# //p' "$0"
    exit 0
    ;;
  --avx2)
    # As on a processor without AVX-512. MLAS has no switch for it: ONNX Runtime's column is left as it
    # is, and OpenVINO's side says which of its kernels are MLAS's.
    shift
    SOFTLOOK_PEER_SET=avx2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2
    ONEDNN_MAX_CPU_ISA=AVX2 DNNL_MAX_CPU_ISA=AVX2
    export SOFTLOOK_PEER_SET ATEN_CPU_CAPABILITY MKL_ENABLE_INSTRUCTIONS ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA
    say "held to AVX2: softlook, PyTorch, oneDNN and what OpenVINO generates; MLAS, which ONNX Runtime and most products of OpenVINO's encoder use, has no switch"
    ;;
esac

build=$root/build/peers
venv=$build/venv
python=$venv/bin/python
mkdir -p "$build"

# can_python: has python3 what a venv and, for torch.compile, an extension need?
can_python() {
  python3 - 2> /dev/null << 'PROGRAM'
import ensurepip, os, sysconfig, venv
assert os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
PROGRAM
}

make_venv() {
  if ! can_python && command -v apt-get > /dev/null 2>&1; then
    if [ "$(id -u)" -eq 0 ] || sudo -n true > /dev/null 2>&1; then
      apt_install python3-venv python3-dev || :
    fi
  fi
  can_python || say "note: Python's venv or headers are missing (python3-venv, python3-dev)"
  if ! "$python" -c 'import pip' > /dev/null 2>&1; then
    python3 -m venv "$venv" || die "a virtual environment is needed; install python3-venv"
  fi
}

# pip_install PACKAGE...
pip_install() {
  "$python" -m pip install --disable-pip-version-check "$@" > "$build/pip.log" 2>&1 < /dev/null
}

has_package() { "$python" -c "from importlib.metadata import version; version('$1')" 2> /dev/null; }

has_torch() {
  "$python" -c "from importlib.metadata import version
assert version('torch').split('+')[0] == '2.13.0'" 2> /dev/null
}

# The build without CUDA first: a hundredth of the download, where pip's configuration knows it.
install_peers() {
  has_package numpy || pip_install numpy || die "pip could not install numpy: $build/pip.log"
  if ! has_torch; then
    say "installing torch"
    pip_install "torch==2.13.0+cpu" || pip_install "torch==2.13.0" ||
      say "pip could not install torch==2.13.0"
  fi
  if ! has_package onnxruntime || ! has_package onnx; then
    say "installing onnxruntime"
    pip_install onnxruntime onnx || say "pip could not install onnxruntime"
  fi
  if ! has_package openvino; then
    say "installing openvino"
    pip_install openvino || say "pip could not install openvino"
  fi
}

build_softlook() {
  compile_alone "$root/bench/peers/softlook_peer.cpp" "$build/softlook_peer.o"
  compile_alone "$root/bench/support/peak.cpp" "$build/peak.o"
  "$CXX" -pthread "$build/softlook_peer.o" "$build/peak.o" -o "$build/softlook_peer" ||
    die "FAILED: softlook_peer.cpp does not build"
}

need_tools
make_venv
install_peers
build_softlook

commit=$(git -C "$root" rev-parse --short HEAD 2> /dev/null || echo unknown)
if [ -n "$(git -C "$root" status --porcelain --untracked-files=no 2> /dev/null)" ]; then
  commit=$commit-modified
fi
ended=0
CXX=$CXX "$python" "$root/bench/peers/compare.py" --build "$build" --program "$build/softlook_peer" \
  --commit "$commit" "$@" > "$build/table.txt" || ended=$?
cat "$build/table.txt"
[ "$ended" -eq 0 ] || exit "$ended"
say "table: $build/table.txt; figures: $build/results.json; drawing: $build/ratios.svg"
say "done in $(($(date +%s) - started)) s"
