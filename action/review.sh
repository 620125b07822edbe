# Posts the review, without what an earlier one has said. Where it may not (pull requests of forks), the annotations stand for it.
set -euo pipefail

warn() {
  echo "::warning title=evallint::$1"
  exit 0
}

if [ "$(git rev-parse HEAD)" != "$EVALLINT_HEAD" ]; then
  warn 'No review: its lines are those of the pull request itself. Give actions/checkout the input "ref: ${{ github.event.pull_request.head.sha }}".'
fi
pull="repos/$EVALLINT_REPOSITORY/pulls/$EVALLINT_PULL_REQUEST"
said="$RUNNER_TEMP/evallint-said.txt"
{ gh api --paginate "$pull/comments" --jq '.[].body' && gh api --paginate "$pull/reviews" --jq '.[].body'; } > "$said" \
  || warn 'No review: the pull request cannot be read.'
review="$RUNNER_TEMP/evallint-new-review.json"
jq --rawfile said "$said" --arg head "$EVALLINT_HEAD" '
  def marks: [scan("<!-- evallint:[0-9a-f]+ -->")];
  def unsaid: any(marks[]; . as $mark | $said | contains($mark) | not);
  .commit_id = $head
  | .comments |= map(select(.body | unsaid))
  | select((.comments | length > 0) or (.body | unsaid))
' "$EVALLINT_REVIEW_FILE" > "$review"
if [ -s "$review" ]; then
  gh api --method POST "$pull/reviews" --input "$review" > /dev/null || warn 'No review: it cannot be posted (pull requests of forks may not).'
fi
