package agent_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"iotagent/agent"
	"iotagent/outbox"
)

// schema is the one that is published for a content type.
func schema(t *testing.T, contentType string) *jsonschema.Schema {
	t.Helper()
	file := map[string]string{"application/json": "telemetry.schema.json", "application/senml+json": "senml.schema.json"}[contentType]
	s, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "docs", "formats", file))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func conforms(s *jsonschema.Schema, body []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// Every message that docs/formats.md shows is as its schema says.
func TestGoldenMessagesAreAsTheSchemaSays(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "docs", "formats", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var m wire
		if json.Unmarshal(text, &m) != nil || m.MessageID == "" || len(m.Body) == 0 || strings.HasPrefix(filepath.Base(file), "event") {
			continue // no message of ours
		}
		seen[m.ContentType]++
		if err := conforms(schema(t, m.ContentType), m.Body); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if seen["application/json"] < 8 || seen["application/senml+json"] < 1 {
		t.Errorf("messages found: %v; are they somewhere else now?", seen)
	}
}

func TestWhatIsPackedIsAsTheSchemaSays(t *testing.T) {
	for format, contentType := range map[agent.Format]string{agent.FormatJSON: "application/json", agent.FormatSenML: "application/senml+json"} {
		s := schema(t, contentType)
		rapid.Check(t, func(t *rapid.T) {
			o := senmlOptions()
			o.Format = format
			b := agent.NewBatch(outbox.Normal, o)
			for range rapid.IntRange(1, 8).Draw(t, "readings") {
				r := drawReading(t)
				b.Add(&r)
			}
			m, err := agent.MessageOf(entry(outbox.Normal, b.Seal().Body, nil))
			if err != nil {
				t.Fatal(err)
			}
			if err := conforms(s, m.Body); err != nil {
				t.Fatalf("%v\n%s", err, m.Body)
			}
		})
	}
}

// A schema that takes everything would be worth nothing.
func TestSchemasRefuse(t *testing.T) {
	for body, contentType := range map[string]string{
		`[]`:               "application/json",
		`[{"sensor":"a"}]`: "application/json",
		`[{"time":"2026-11-22T10:00:00.000Z","temperature_celsius":1}]`:                           "application/json",
		`[{"sensor":"a","time":"2026-11-22T10:00:00Z","temperature_celsius":1}]`:                  "application/json",
		`[{"sensor":"a","time":"2026-11-22T10:00:00.000Z","temperature_celsius":"1"}]`:            "application/json",
		`[{"sensor":"a","time":"2026-11-22T10:00:00.000Z","quality":"good"}]`:                     "application/json",
		`[{"sensor":"a","time":"2026-11-22T10:00:00.000Z","clock":"unknown","uptime_seconds":1}]`: "application/json",
		`[{"sensor":"a","time":"2026-11-22T10:00:00.000Z","clock":"guessed","v":1}]`:              "application/json",
		`[{"sensor":"a","clock":"restored","uptime_seconds":1}]`:                                  "application/json",
		`[{"bn":"a/b_celsius","bt":1,"clock":"unknown","v":1}]`:                                   "application/senml+json",
		`[{"bn":"a/b_celsius","bt":1,"v":1},{"clock":"restored","v":1}]`:                          "application/senml+json",
		`[{"bn":"a/b_celsius","bt":1,"clock":"restored","clock_":"unknown","v":1}]`:               "application/senml+json",
		`[{"sensor":"a","clock":"unknown"}]`:                                                      "application/json",
		`{"gap":{"lane":"fast","reason":"quota"}}`:                                                "application/json",
		`{"gap":{"lane":"bulk","reason":"quota","from":1}}`:                                       "application/json",
		`{"command":"x","status":"ok","code":0}`:                                                  "application/json",
		`[{"bn":"a/b_celsius","v":1}]`:                                                            "application/senml+json",
		`[{"bn":"a/b_celsius","bt":1,"v":1,"vs":"x"}]`:                                            "application/senml+json",
		`[{"bn":"a/b_celsius","bt":1,"u":"C","v":1}]`:                                             "application/senml+json",
		`[{"bn":"a/b_celsius","bt":1,"v":"1"}]`:                                                   "application/senml+json",
		`[{"bn":"_a/b_celsius","bt":1,"v":1}]`:                                                    "application/senml+json",
		`[{"bn":"a/b_celsius","bt":1,"v":1},{"t":1}]`:                                             "application/senml+json",
	} {
		if conforms(schema(t, contentType), []byte(body)) == nil {
			t.Errorf("%s is taken for %s", body, contentType)
		}
	}
}
