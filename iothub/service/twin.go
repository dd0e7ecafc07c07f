package service

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// Twin is what the hub keeps for a device (Microsoft, "Understand and use device twins in IoT Hub"). Its JSON form is the hub's own.
type Twin struct {
	DeviceID        string
	ETag            string
	Version         int64
	ConnectionState string
	// Tags, Desired and Reported are JSON objects, the latter two with their $version and $metadata.
	Tags, Desired, Reported json.RawMessage

	raw json.RawMessage
}

// TwinPatch is a change of a twin: JSON merge patches (RFC 7396), in which null deletes.
type TwinPatch struct {
	// Tags and Desired are JSON objects; nil leaves that part alone.
	Tags, Desired json.RawMessage
	// ETag makes the change fail unless the twin is still the one that had it; "" changes any.
	ETag string
}

// Twin returns a device's twin. The error wraps ErrDeviceUnknown where there is no such device.
func (c *Client) Twin(ctx context.Context, device string) (*Twin, error) {
	t := new(Twin)
	if err := c.rest(ctx, &request{method: http.MethodGet, path: twinPath(device)}, t); err != nil {
		return nil, fmt.Errorf("twin of %s: %w", device, err)
	}
	return t, nil
}

// UpdateTwin changes a twin and returns it. The error wraps ErrDeviceUnknown or, where the twin has another etag, ErrChanged.
func (c *Client) UpdateTwin(ctx context.Context, device string, p *TwinPatch) (*Twin, error) {
	body := map[string]any{}
	for _, part := range []struct {
		name string
		text json.RawMessage
		put  func(json.RawMessage)
	}{
		{"tags", p.Tags, func(o json.RawMessage) { body["tags"] = o }},
		{"desired properties", p.Desired, func(o json.RawMessage) { body["properties"] = map[string]any{"desired": o} }},
	} {
		if part.text == nil {
			continue
		}
		if !isObject(part.text) {
			return nil, fmt.Errorf("twin of %s: the %s are not a JSON object", device, part.name)
		}
		part.put(part.text)
	}
	if len(body) == 0 {
		return nil, fmt.Errorf("twin of %s: nothing to change", device)
	}
	match := p.ETag
	if match == "" {
		match = "*"
	}
	t := new(Twin)
	if err := c.rest(ctx, &request{method: http.MethodPatch, path: twinPath(device), ifMatch: match, body: body}, t); err != nil {
		return nil, fmt.Errorf("twin of %s: %w", device, err)
	}
	return t, nil
}

func isObject(text []byte) bool {
	return json.Valid(text) && bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
}

func twinPath(device string) string { return "/twins/" + url.PathEscape(device) }

// MarshalJSON returns the twin as the hub sent it.
func (t *Twin) MarshalJSON() ([]byte, error) {
	if t.raw == nil {
		return []byte("null"), nil
	}
	return t.raw, nil
}

// UnmarshalJSON reads the hub's form.
func (t *Twin) UnmarshalJSON(text []byte) error {
	var in struct {
		DeviceID        string          `json:"deviceId"`
		ETag            string          `json:"etag"`
		Version         int64           `json:"version"`
		ConnectionState string          `json:"connectionState"`
		Tags            json.RawMessage `json:"tags"`
		Properties      struct {
			Desired  json.RawMessage `json:"desired"`
			Reported json.RawMessage `json:"reported"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*t = Twin{
		in.DeviceID, in.ETag, in.Version, in.ConnectionState, in.Tags, in.Properties.Desired, in.Properties.Reported, bytes.Clone(text),
	}
	return nil
}
