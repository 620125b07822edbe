# Installs evallint apart from the job's own Python: the version that is asked for, or the one that this action is of.
set -euo pipefail

python=$(command -v python3 || command -v python)
folder="$RUNNER_TEMP/evallint-$RANDOM"
"$python" -m venv "$folder"
programs="$folder/bin"
[ -d "$programs" ] || programs="$folder/Scripts"
if [ -n "${EVALLINT_VERSION:-}" ]; then
  wanted="evallint==$EVALLINT_VERSION"
else
  wanted="$GITHUB_ACTION_PATH"
fi
"$programs/python" -m pip install --quiet --disable-pip-version-check "$wanted"
echo "evallint=$programs/evallint" >> "$GITHUB_OUTPUT"
