package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"iotagent/agent"
	"iotagent/config"
	"iotagent/internal/cli"
	"iotagent/internal/quantity"
	"iotagent/iothub/transport"
)

type checkCommand struct {
	Probe bool `help:"Read every sensor and connect to the hub too."`
	JSON  bool `help:"Print JSON."`
}

// checked is what a configuration comes to. docs/formats.md shows its JSON.
type checked struct {
	File   string `json:"file"`
	Hub    string `json:"hub"`
	Device string `json:"device"`
	Auth   string `json:"auth"`
	// Transport is the configuration's; Proxy is the host of the one that is used.
	Transport string `json:"transport"`
	Proxy     string `json:"proxy,omitempty"`
	// CertificateExpires is of the client's certificate.
	CertificateExpires *time.Time `json:"certificate_expires,omitempty"`
	StateDir           string     `json:"state_dir"`
	Sensors            []string   `json:"sensors"`
	Commands           []string   `json:"commands"`
	// MessagesADay is about what the schedule sends, MeteredADay what the hub counts of its daily quota for it. The sizes are those of readings that --probe
	// took, a typical one without.
	MessagesADay int64 `json:"messages_a_day"`
	MeteredADay  int64 `json:"metered_a_day"`
	BytesADay    int64 `json:"bytes_a_day"`
	// AtMost says that it may be fewer, because readings that tell nothing new are left out.
	AtMost bool `json:"at_most,omitempty"`
	// DiskWrites says when readings are written to the disk, and what a power cut takes.
	DiskWrites string   `json:"disk_writes"`
	Warnings   []string `json:"warnings"`
	Readings   []taken  `json:"readings,omitempty"`
	HubReached *bool    `json:"hub_reached,omitempty"`
	// Clock is who vouches for this machine's clock, with --probe: "synchronised", "confirmed", "restored", "unconfirmed" or "implausible".
	Clock string `json:"clock,omitempty"`
}

// probeLimit is how long the hub may take to answer.
const probeLimit = 30 * time.Second

// Run checks the file, its secrets and, with --probe, what stands behind it.
func (c *checkCommand) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		return err
	}
	cr, err := f.Hub.Credentials(configOptions())
	if err != nil {
		return cli.Mistakes(err, "")
	}
	result := &checked{
		File: f.Path, Hub: cr.Host, Device: cr.DeviceID, Auth: cr.Auth, StateDir: f.Agent.StateDir,
		Sensors: []string{}, Commands: []string{}, Warnings: append([]string{}, warningTexts(f)...),
		DiskWrites: diskWrites(f), Transport: f.Hub.Transport,
	}
	result.way(f, &cr)
	for _, s := range f.Sensors {
		result.Sensors = append(result.Sensors, fmt.Sprintf("%s (%s, every %s)", s.Name, s.Type, s.Interval.Duration))
	}
	for _, s := range f.Commands {
		result.Commands = append(result.Commands, fmt.Sprintf("%s (%s)", s.Name, s.Type))
	}
	var failed error
	if c.Probe {
		failed = probe(ctx, f, result)
	}
	cost := costADay(f, result.Readings)
	result.MessagesADay, result.MeteredADay, result.BytesADay = int64(cost.Messages), int64(cost.Metered), int64(cost.Bytes)
	result.AtMost = atMost(f)
	if c.JSON {
		err = json.NewEncoder(std.Out).Encode(result)
	} else {
		err = result.print(std.Out)
	}
	return errors.Join(err, failed)
}

// way says how the hub is reached.
func (r *checked) way(f *config.File, cr *config.Credentials) {
	var err error
	if r.Proxy, err = proxyHost(f, cr); err != nil {
		r.Warnings = append(r.Warnings, err.Error())
	}
	if cr.Certificate == nil {
		return
	}
	end := cr.Certificate.Expires()
	r.CertificateExpires = &end
	if left := time.Until(end); left < transport.WarnAhead {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s: the certificate ends at %s", cr.CertFile, end.Format(time.RFC3339)))
	}
}

// diskWrites says what max_loss means for the disk.
func diskWrites(f *config.File) string {
	loss := f.Outbox.MaxLoss
	if loss.Duration == 0 {
		return "every reading, before it is sent; a power cut takes none"
	}
	within := quantity.Duration{Duration: loss.Duration - sealedAfter(f)}
	return fmt.Sprintf("none while the hub takes a message within %v; a power cut takes at most the last %v of readings", within, loss)
}

func warningTexts(f *config.File) []string {
	var texts []string
	for _, w := range f.Warnings {
		texts = append(texts, w.Error())
	}
	for _, cmd := range f.Commands {
		if w, ok := cmd.Config.(interface{ Warning() string }); ok && w.Warning() != "" {
			texts = append(texts, fmt.Sprintf("command %q: %s", cmd.Name, w.Warning()))
		}
	}
	return texts
}

// probe reads every sensor and connects to the hub once.
func probe(ctx context.Context, f *config.File, result *checked) error {
	hw := openHardware(f)
	defer func() { _ = hw.Close() }() // only read: nothing to lose
	result.Readings = takeAll(ctx, f.Sensors, hw)
	failed := judge(ctx, result.Readings, f.Agent.StateDir)
	result.Warnings = append(result.Warnings, nameWarnings(result.Readings)...)
	probeClock(ctx, f, result)
	reached, err := probeHub(ctx, f)
	result.HubReached = &reached
	if err != nil {
		err = fmt.Errorf("hub %s: %w", result.Hub, err)
	}
	return errors.Join(failed, err)
}

// nameWarnings tells of words for quantities that a good reading does not have. Some sensors have all of theirs only later, such as the rate of a counter.
func nameWarnings(readings []taken) []string {
	var texts []string
	for _, t := range readings {
		if len(t.order) > 0 && len(t.unseen) > 0 {
			texts = append(texts, fmt.Sprintf("sensor %q: calibration, limits or deadband name %s, which this reading does not have; it has %s",
				t.Sensor, strings.Join(t.unseen, ", "), strings.Join(t.order, ", ")))
		}
	}
	return texts
}

// probeHub asks the running daemon how its link is, because a second connection of the same device would push the daemon's out; without a
// daemon it connects itself.
func probeHub(ctx context.Context, f *config.File) (reached bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	if s, err := askDaemon(ctx, f.Agent.StateDir); err == nil {
		if s.Link.State == "online" {
			return true, nil
		}
		return false, cli.Fail(cli.Failed, fmt.Errorf("the daemon is %s: %s", s.Link.State, s.Link.Error), s.Link.Hint)
	}
	link, err := dialer(f, true, nil)
	if err != nil {
		return false, err
	}
	client, err := link.dial(ctx)
	if err != nil {
		return false, cli.Fail(cli.Failed, err, agent.Hint(err))
	}
	return true, client.Close(ctx)
}

func (r *checked) print(w io.Writer) error {
	fmt.Fprintf(w, "%s is right\n", r.File)
	fmt.Fprintf(w, "device %s at hub %s, %s\n", r.Device, r.Hub, r.Auth)
	r.printWay(w)
	fmt.Fprintf(w, "state in %s\n", r.StateDir)
	for _, s := range r.Sensors {
		fmt.Fprintf(w, "sensor %s\n", s)
	}
	for _, s := range r.Commands {
		fmt.Fprintf(w, "command %s\n", s)
	}
	fmt.Fprintln(w, r.cost())
	fmt.Fprintf(w, "disk writes: %s\n", r.DiskWrites)
	for _, s := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", s)
	}
	if err := printProbe(w, r); err != nil {
		return err
	}
	return nil
}

func (r *checked) printWay(w io.Writer) {
	way := "transport " + r.Transport
	if r.Proxy != "" {
		way += ", through proxy " + r.Proxy
	}
	fmt.Fprintln(w, way)
	if r.CertificateExpires != nil {
		fmt.Fprintf(w, "certificate until %s\n", r.CertificateExpires.Format(time.RFC3339))
	}
}

func printProbe(w io.Writer, r *checked) error {
	if r.HubReached == nil {
		return nil
	}
	if *r.HubReached {
		fmt.Fprintln(w, "the hub is reached, and takes this device")
	}
	fmt.Fprintf(w, "clock %s\n", r.Clock)
	return printReadings(w, r.Readings, false)
}
