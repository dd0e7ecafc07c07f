package simctl_test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iotagent/internal/simctl"
)

// echo answers each order with its N, and fails the action "fail".
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		_ = json.NewEncoder(w).Encode(simctl.Status{Hub: "h"})
		return
	}
	var req simctl.Request
	err := json.NewDecoder(r.Body).Decode(&req)
	reply := simctl.Reply{Done: req.N}
	if req.Action == "fail" || err != nil {
		reply.Error = "no"
	}
	_ = json.NewEncoder(w).Encode(reply)
}

func serve(t *testing.T, l net.Listener) {
	srv := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = srv.Close() })
}

func TestAsk(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("d", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{filepath.Join(dir, "s"), filepath.Join(long, simctl.Socket), "127.0.0.1:0"} {
		l, err := simctl.Listen(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		serve(t, l)
		if at == "127.0.0.1:0" {
			at = l.Addr().String()
		} else if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", at, info.Mode(), err)
		}
		if reply, err := simctl.Ask(t.Context(), at, &simctl.Request{Action: "x", N: 7}); err != nil || reply.Done != 7 {
			t.Errorf("%s: %+v %v", at, reply, err)
		}
		if _, err := simctl.Ask(t.Context(), at, &simctl.Request{Action: "fail"}); err == nil || err.Error() != "no" {
			t.Errorf("%s: %v", at, err)
		}
		if st, err := simctl.AskStatus(t.Context(), at); err != nil || st.Hub != "h" {
			t.Errorf("%s: %+v %v", at, st, err)
		}
		if strings.Contains(at, "/") {
			if _, err := simctl.Listen(t.Context(), at); err == nil {
				t.Errorf("%s: taken from a listener that lives", at)
			}
		}
	}
}

func TestListenReplacesAnAbandonedSocket(t *testing.T) {
	at := filepath.Join(t.TempDir(), "s")
	l, err := simctl.Listen(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that was killed
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = simctl.Listen(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

func TestListenOnlyOnLoopback(t *testing.T) {
	for _, at := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "example.com:80"} {
		if l, err := simctl.Listen(t.Context(), at); err == nil {
			_ = l.Close()
			t.Errorf("%s is allowed", at)
		}
	}
}
