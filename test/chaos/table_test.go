package chaos

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// caption says what the table is of.
func caption(troubles, worlds int, duration time.Duration) string {
	settings := "with `keepalive = \"5s\"`, no fault longer than 20 s"
	if duration >= longRun {
		settings = "with the settings that are shipped"
	}
	return fmt.Sprintf("%d faults, in %d worlds beside each other for %s, %s:\n\n", troubles, worlds, duration, settings)
}

// table shows for each trouble how often it came and what it did, in seconds.
func table(all []measured) string {
	by := map[string][]measured{}
	for _, m := range all {
		by[m.name] = append(by[m.name], m)
	}
	var b strings.Builder
	b.WriteString("| trouble | n | noticed: median | max | healed: median | max | caught up: max | again: max |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, name := range sortedKeys(by) {
		ms := by[name]
		var noticed []time.Duration
		for _, m := range ms {
			if m.noticed >= 0 {
				noticed = append(noticed, m.noticed)
			}
		}
		healed := durations(ms, func(m measured) time.Duration { return m.healed })
		caught := durations(ms, func(m measured) time.Duration { return m.caughtUp })
		again := slices.MaxFunc(ms, func(a, b measured) int { return a.again - b.again }).again
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s | %d |\n", name, len(ms),
			median(noticed), most(noticed), median(healed), most(healed), most(caught), again)
	}
	return b.String()
}

func durations(ms []measured, f func(measured) time.Duration) []time.Duration {
	var all []time.Duration
	for _, m := range ms {
		all = append(all, f(m))
	}
	return all
}

func median(ds []time.Duration) string {
	if len(ds) == 0 {
		return "–"
	}
	ds = slices.Sorted(slices.Values(ds))
	return fmt.Sprintf("%.1f", ds[len(ds)/2].Seconds())
}

func most(ds []time.Duration) string {
	if len(ds) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", slices.Max(ds).Seconds())
}

// The marks between which the table stands in a page.
const (
	tableBegin = "<!-- chaos -->\n"
	tableEnd   = "<!-- chaos:end -->\n"
)

// replaceTable puts a text between the marks of a page.
func replaceTable(page, text string) (string, error) {
	before, rest, ok := strings.Cut(page, tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		return "", fmt.Errorf("the page has no %s and %s", strings.TrimSpace(tableBegin), strings.TrimSpace(tableEnd))
	}
	return before + tableBegin + text + tableEnd + after, nil
}

func updatePage(path, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	replaced, err := replaceTable(string(page), text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(replaced), 0o600) // the mode stays as it is
}
