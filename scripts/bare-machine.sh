#!/usr/bin/env bash
# Brings a bare Debian or Raspberry Pi OS machine to where the Makefile can work.
#   bare-machine.sh python PYTHON   a Python >= 3.11 that can make virtual environments
#   bare-machine.sh mosquitto       the MQTT broker that the demo and the tests run against
# Installs with apt-get, through sudo when not root; where neither is possible, one line says what to install.
set -euo pipefail

install() {
    local package=$1 reason=$2
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
    if ! command -v apt-get >/dev/null; then
        echo "dcu: $reason; this machine has no apt-get: install '$package' with its package tool, then run make again" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
            if [ ! -t 0 ] || ! command -v sudo >/dev/null; then
                echo "dcu: $reason; as root: apt-get install -y $package" >&2
                exit 1
            fi
        fi
        apt=(sudo "${apt[@]}")
    fi
    echo "dcu: $reason; installing $package"
    "${apt[@]}" install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
        { "${apt[@]}" update -qq >/dev/null && "${apt[@]}" install -y -qq --no-install-recommends "$package" >/dev/null; } ||
        { echo "dcu: could not install $package; as root: apt-get update && apt-get install -y $package" >&2; exit 1; }
}

case "${1:-}" in
python)
    python=${2:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || install python3 "Python 3.11 or newer is needed"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        { echo "dcu: $("$python" --version) is too old: 3.11 or newer is needed; make PYTHON=/path/to/python3.11" >&2; exit 1; }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install python3-venv "this Python cannot make virtual environments"
    ;;
mosquitto)
    # Debian puts the broker in /usr/sbin, which is not on every user's PATH.
    PATH=$PATH:/usr/sbin:/usr/local/sbin
    if ! command -v mosquitto >/dev/null; then
        install mosquitto "no mosquitto broker on this machine"
    fi
    ;;
*)
    echo "usage: $0 python PYTHON | mosquitto" >&2
    exit 2
    ;;
esac
