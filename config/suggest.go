package config

import (
	"slices"
	"strconv"
	"strings"
)

// suggest returns the known word that was most likely meant, or "".
func suggest(word string, known []string) string {
	word = plain(word)
	best, least := "", 3
	for _, k := range known {
		d := distance(word, plain(k))
		if d < least && (d == 0 || d < len(k)/2+1 && d < len(word)) {
			best, least = k, d
		}
	}
	if best != "" {
		return best
	}
	// host for hostname, timeout for timeout_seconds, max_bytes for bytes.
	const enough = 4
	for _, k := range known {
		short, long := min(len(k), len(word)), k
		if len(k) < len(word) {
			long = word
		}
		if short >= enough && (strings.HasPrefix(long, k) && strings.HasPrefix(long, word[:short]) ||
			strings.HasPrefix(k, word) || strings.HasSuffix(k, "_"+word)) {
			return k
		}
	}
	return ""
}

// plain takes out the differences that a person does not see.
func plain(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance is Levenshtein's edit distance, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// didYouMean returns the end of a message about a word that is none of the known: a suggestion, or all that are known.
func didYouMean(word string, known []string) string {
	if s := suggest(word, known); s != "" {
		return `; did you mean "` + s + `"?`
	}
	if len(known) == 0 {
		return ""
	}
	return "; known: " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// oneOf returns the words as a choice: `"a", "b" or "c"`.
func oneOf(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}
