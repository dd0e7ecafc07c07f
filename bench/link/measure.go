package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"iotagent/bench/report"
)

// nodeSDK is Microsoft's SDK for Node.
const nodeSDK = "node-sdk"

// roundTrip is what the relay adds.
const roundTrip = 50 * time.Millisecond

//go:embed node.js
var nodeProgram string

// contender is one line of a table.
type contender struct {
	Name string
	What string
	// Messages is how many it sends in a turn: about two seconds' worth.
	Messages int
	// Far says that the relay is in between.
	Far bool
}

func contenders() []contender {
	return []contender{
		{Name: rawBlocking, What: "go-amqp, one after the other", Messages: 30_000},
		{Name: rawPipelined, What: "go-amqp, pipelined", Messages: 120_000},
		{Name: rawNamed, What: "go-amqp, pipelined, with iotagent's properties", Messages: 100_000},
		{Name: agentSingle, What: "iotagent, from the disk, single", Messages: 200_000},
		{Name: agentBatch, What: "iotagent, from the disk, batches", Messages: 500_000},
		{Name: nodeSDK, What: "Microsoft's SDK for Node", Messages: 50_000},
		{Name: rawBatches, What: "go-amqp, batches of 100, pipelined", Messages: 600_000},
		{Name: rawPipelined, What: "go-amqp, pipelined", Messages: 20_000, Far: true},
		{Name: agentSingle, What: "iotagent, from the disk, single", Messages: 40_000, Far: true},
		{Name: agentBatch, What: "iotagent, from the disk, batches", Messages: 200_000, Far: true},
	}
}

// turn is what one contender did once.
type turn struct {
	result
	Messages int `json:"messages"`
	// Transfers is in how many the messages came, SinkCPU what the sink took for them.
	Transfers int64         `json:"transfers"`
	SinkCPU   time.Duration `json:"sink_cpu_ns"`
}

func (t *turn) perSecond() float64 { return float64(t.Messages) / t.Elapsed.Seconds() }

// standing is a contender's turns, the slowest first, or why there are none.
type standing struct {
	Name    string `json:"name"`
	What    string `json:"what"`
	Far     bool   `json:"far"`
	Turns   []turn `json:"turns"`
	Missing string `json:"missing,omitempty"`
}

func (s *standing) median() *turn { return &s.Turns[len(s.Turns)/2] }

type figures struct {
	Time      time.Time  `json:"time"`
	Machine   string     `json:"machine"`
	Rounds    int        `json:"rounds"`
	Standings []standing `json:"standings"`
}

// bench is one run.
type bench struct {
	rounds  int
	scale   float64 // of the numbers of messages
	only    string
	data    string // folder of this run alone
	modules string // folder of Node's modules
	profile string

	sink, far *service
}

func (b *bench) ca() string { return filepath.Join(b.data, "sink.pem") }

func measureCommand(ctx context.Context, args []string) (err error) {
	f := flag.NewFlagSet("link", flag.ContinueOnError)
	b := &bench{}
	f.IntVar(&b.rounds, "rounds", 3, "how often each one has its turn")
	f.Float64Var(&b.scale, "scale", 1, "of the numbers of messages")
	f.StringVar(&b.only, "only", "", "names of those that take part, with commas between; default: all")
	f.StringVar(&b.modules, "modules", "interop/node_modules", "where Microsoft's SDK for Node is")
	f.StringVar(&b.profile, "profile", "", "folder that gets a CPU profile of each client")
	data := f.String("data", ".build/bench", "folder for the queues while it runs")
	out := f.String("out", ".build/bench", "folder for the figures")
	document := f.String("update", "", "document whose figures are replaced")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := os.MkdirAll(*data, 0o700); err != nil {
		return err
	}
	if b.data, err = os.MkdirTemp(*data, "link-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.data)) }()
	fig, err := b.run(ctx)
	if err != nil {
		return err
	}
	text := fig.text()
	fmt.Print(text)
	if err := report.Save(*out, "link", fig, text); err != nil || *document == "" {
		return err
	}
	return report.Update(*document, "link", text)
}

// run gives each contender its turn, one after the other, as often as there are rounds, so that what else the machine does hits all alike.
func (b *bench) run(ctx context.Context) (fig *figures, err error) {
	if b.sink, err = startService(ctx, "sink", "-ca", b.ca()); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.sink.stop()) }()
	if b.far, err = startService(ctx, "relay", "-to", b.sink.Address, "-delay", (roundTrip / 2).String()); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.far.stop()) }()
	fig = &figures{Time: time.Now().UTC().Truncate(time.Second), Machine: report.Machine(), Rounds: b.rounds}
	var cs []contender
	for _, c := range contenders() {
		if b.only != "" && !slices.Contains(strings.Split(b.only, ","), c.Name) {
			continue
		}
		c.Messages = max(int(float64(c.Messages)*b.scale)/rawBatch, 1) * rawBatch
		cs = append(cs, c)
		fig.Standings = append(fig.Standings, standing{Name: c.Name, What: c.What, Far: c.Far, Missing: b.missing(c)})
	}
	for round := range b.rounds {
		for i, c := range cs {
			s := &fig.Standings[i]
			if s.Missing != "" {
				continue
			}
			t, err := b.turn(ctx, c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.What, err)
			}
			progress("round %d of %d: %s: %d messages, %s/s", round+1, b.rounds, c.What, c.Messages, report.Number(t.perSecond()))
			s.Turns = append(s.Turns, t)
		}
	}
	for _, s := range fig.Standings {
		slices.SortFunc(s.Turns, func(x, y turn) int { return cmp.Compare(x.perSecond(), y.perSecond()) })
	}
	return fig, nil
}

// missing says why a contender cannot take part, "" when it can.
func (b *bench) missing(c contender) string {
	if c.Name != nodeSDK {
		return ""
	}
	if _, err := exec.LookPath("node"); err != nil {
		return "node is not installed"
	}
	if _, err := os.Stat(filepath.Join(b.modules, "azure-iot-device-amqp")); err != nil {
		return "the SDK is not installed (make interop does it)"
	}
	return ""
}

// turn lets one contender send its messages, and makes sure that they came.
func (b *bench) turn(ctx context.Context, c contender) (t turn, err error) {
	j := job{Name: c.Name, Messages: c.Messages, Address: b.sink.Address, CA: b.ca(), Data: filepath.Join(b.data, c.Name)}
	if c.Far {
		j.Address = b.far.Address
	}
	if c.Name == agentSingle || c.Name == agentBatch {
		defer func() { err = errors.Join(err, os.RemoveAll(j.Data)) }()
		fill, err := self(ctx, "fill", "-data", j.Data, "-messages", strconv.Itoa(j.Messages))
		if err == nil {
			err = output(fill, nil)
		}
		if err != nil {
			return t, err
		}
	}
	before, err := b.sink.tally()
	if err != nil {
		return t, err
	}
	cmd, err := b.command(ctx, &j)
	if err != nil {
		return t, err
	}
	if err := output(cmd, &t.result); err != nil {
		return t, err
	}
	after, err := b.sink.tally()
	if err != nil {
		return t, err
	}
	t.Messages, t.Transfers, t.SinkCPU = c.Messages, after.Transfers-before.Transfers, after.CPU-before.CPU
	if came := after.Messages - before.Messages; came < int64(c.Messages) || came > int64(c.Messages)+1 { // Node's first one
		return t, fmt.Errorf("%d messages came, not %d", came, c.Messages)
	}
	return t, nil
}

func (b *bench) command(ctx context.Context, j *job) (*exec.Cmd, error) {
	if j.Name == nodeSDK {
		return b.nodeCommand(ctx, j)
	}
	profile := ""
	if b.profile != "" {
		profile = filepath.Join(b.profile, j.Name+".pprof")
		if j.Address == b.far.Address {
			profile = filepath.Join(b.profile, j.Name+"-far.pprof")
		}
	}
	return self(ctx, "client", "-name", j.Name, "-messages", strconv.Itoa(j.Messages), "-address", j.Address, "-ca", j.CA, "-data", j.Data, "-profile", profile)
}

func (b *bench) nodeCommand(ctx context.Context, j *job) (*exec.Cmd, error) {
	modules, err := filepath.Abs(b.modules)
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(j.Address, ":")
	config, err := json.Marshal(map[string]any{
		"address": "localhost:" + port, "ca": j.CA, "key": base64.StdEncoding.EncodeToString([]byte("any key will do")),
		"messages": j.Messages, "depth": depth, "body": string(body()),
	})
	if err != nil {
		return nil, err
	}
	program := filepath.Join(b.data, "node.js")
	if err := os.WriteFile(program, []byte(nodeProgram), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "node", program, string(config)) //nolint:gosec // our own program
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	return cmd, nil
}
