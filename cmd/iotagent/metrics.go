package main

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"iotagent/agent"
	"iotagent/config"
	"iotagent/internal/backoff"
)

// listenRetry is how often a metrics address is tried that is not to be had: its interface may not be up yet.
const listenRetry = 30 * time.Second

// startMetrics serves the metrics where the configuration asks for it. Without them the daemon works all the same, and says so.
func startMetrics(ctx context.Context, m config.Metrics, a *agent.Agent, log *slog.Logger) (stop func()) {
	if m.Listen == "" {
		return func() {}
	}
	mctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { serveMetrics(mctx, m.Listen, a, log) })
	return func() {
		cancel()
		wg.Wait()
	}
}

func serveMetrics(ctx context.Context, address string, a *agent.Agent, log *slog.Logger) {
	said := ""
	for ctx.Err() == nil {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", address)
		if err == nil {
			said = ""
			log.Info("metrics are served", "address", l.Addr().String(), "path", "/metrics")
			a.ServeMetrics(ctx, l)
		} else if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			log.Error("metrics not served; trying again", "error", err, "every", listenRetry.String())
		}
		_ = backoff.Sleep(ctx, listenRetry) // the loop looks at ctx itself
	}
}
