package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"iotagent/internal/promtext"
)

const (
	metricsHeader = 5 * time.Second
	metricsAnswer = 10 * time.Second
	metricsIdle   = 2 * time.Minute // scrapes come every 15 s to 1 min
	// maxScrapers bounds connections: whoever may look must not use up the machine.
	maxScrapers = 16
)

// ServeMetrics answers GET /metrics on l until ctx is done, then closes l and every connection.
func (a *Agent) ServeMetrics(ctx context.Context, l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", promtext.ContentType)
		_, _ = w.Write(a.Metrics()) // who hung up does not need it
	})
	var open atomic.Int64
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: metricsHeader, ReadTimeout: metricsHeader, WriteTimeout: metricsAnswer, IdleTimeout: metricsIdle,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		ConnState: func(c net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				if open.Add(1) > maxScrapers {
					_ = c.Close() // the server notices at its first read
				}
			case http.StateClosed, http.StateHijacked:
				open.Add(-1)
			case http.StateActive, http.StateIdle:
			}
		},
	}
	defer func() { _ = srv.Close() }()
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		a.log.Error("metrics not served any more", "error", err)
	}
}
