package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"iotagent/hubsim"
)

// openEvents returns what gets each accepted message: nil for no path. A write that fails ends the program through fail, because
// a script that counts the lines must not miss one silently.
func openEvents(path string, stdout io.Writer, fail context.CancelCauseFunc) (func(*hubsim.Event), func() error, error) {
	w, closer := stdout, func() error { return nil }
	switch path {
	case "":
		return nil, closer, nil
	case "-":
	default:
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil { // it may be the state directory, which is not there yet
			return nil, nil, fmt.Errorf("--events: %w", err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("--events: %w", err)
		}
		w, closer = f, f.Close
	}
	return func(e *hubsim.Event) {
		if err := writeEvent(w, e); err != nil {
			fail(fmt.Errorf("--events: %w", err))
		}
	}, closer, nil
}

// writeEvent writes one line, in one call, so that lines of several writers of a file do not mix.
func writeEvent(w io.Writer, e *hubsim.Event) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return err
	}
	_, err := w.Write(line.Bytes())
	return err
}
