package service

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"iotagent/iothub/sas"
)

// Device is one entry of the hub's identity registry. Its JSON form is the hub's, without the keys.
type Device struct {
	ID           string `json:"deviceId"`
	GenerationID string `json:"generationId"`
	ETag         string `json:"etag"`
	// Status is "enabled" or "disabled", for a reason that its administrator may have given.
	Status       string `json:"status"`
	StatusReason string `json:"statusReason"`
	// ConnectionState is "Connected" or "Disconnected"; the hub may take minutes to know.
	ConnectionState string `json:"connectionState"`
	// LastActivity is zero for a device that never was there.
	LastActivity time.Time `json:"lastActivityTime,omitzero"`
	// Queued is how many commands wait for the device.
	Queued int `json:"cloudToDeviceMessageCount"`
	// Authentication is "sas", "selfSigned" or "certificateAuthority".
	Authentication string `json:"authenticationType"`
	// Primary and Secondary are the device's keys; zero without the right to see them, and for devices with certificates.
	Primary   sas.Key `json:"-"`
	Secondary sas.Key `json:"-"`
}

// MaxDevices is how many devices the hub lists at most.
const MaxDevices = 1000

// Devices returns the first devices of the registry, MaxDevices at most.
func (c *Client) Devices(ctx context.Context) ([]*Device, error) {
	var all []*Device
	if err := c.rest(ctx, &request{method: http.MethodGet, path: "/devices", query: fmt.Sprintf("&top=%d", MaxDevices)}, &all); err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return all, nil
}

// Device returns one device. The error wraps ErrDeviceUnknown where there is none.
func (c *Client) Device(ctx context.Context, id string) (*Device, error) {
	d := new(Device)
	if err := c.rest(ctx, &request{method: http.MethodGet, path: devicePath(id)}, d); err != nil {
		return nil, fmt.Errorf("device %s: %w", id, err)
	}
	return d, nil
}

// CreateDevice registers a device, for which the hub makes keys. The error wraps ErrDeviceExists where there is one already.
func (c *Client) CreateDevice(ctx context.Context, id string) (*Device, error) {
	d := new(Device)
	r := &request{method: http.MethodPut, path: devicePath(id), body: map[string]any{
		"deviceId": id, "status": "enabled", "authentication": map[string]any{"type": "sas"},
	}}
	if err := c.rest(ctx, r, d); err != nil {
		return nil, fmt.Errorf("create device %s: %w", id, err)
	}
	return d, nil
}

// SetDeviceStatus lets a device in or keeps it out, for a reason that is kept with it; all else about it stays as it is. The error wraps
// ErrDeviceUnknown, or ErrChanged where somebody else changes the device at the same moment.
func (c *Client) SetDeviceStatus(ctx context.Context, id string, enabled bool, reason string) (*Device, error) {
	var identity map[string]json.RawMessage // whole, with what this version does not know
	if err := c.rest(ctx, &request{method: http.MethodGet, path: devicePath(id)}, &identity); err != nil {
		return nil, fmt.Errorf("device %s: %w", id, err)
	}
	status := "disabled"
	if enabled {
		status = "enabled"
	}
	var etag string
	if err := json.Unmarshal(identity["etag"], &etag); err != nil {
		return nil, fmt.Errorf("device %s: the hub's answer has no etag: %w", id, err)
	}
	body := map[string]any{}
	for k, v := range identity {
		body[k] = v
	}
	body["status"], body["statusReason"] = status, reason
	d := new(Device)
	if err := c.rest(ctx, &request{method: http.MethodPut, path: devicePath(id), ifMatch: etag, body: body}, d); err != nil {
		return nil, fmt.Errorf("device %s: %w", id, err)
	}
	return d, nil
}

// DeleteDevice takes a device out of the registry, with its keys, its twin and the commands that wait for it.
func (c *Client) DeleteDevice(ctx context.Context, id string) error {
	if err := c.rest(ctx, &request{method: http.MethodDelete, path: devicePath(id), ifMatch: "*"}, nil); err != nil {
		return fmt.Errorf("delete device %s: %w", id, err)
	}
	return nil
}

// ConnectionString is what a device connects with: its secret. It is false for a device whose keys are not known.
func (c *Client) ConnectionString(d *Device) (sas.ConnectionString, bool) {
	cs := sas.ConnectionString{HostName: c.host, DeviceID: d.ID, Key: d.Primary}
	if _, port, err := net.SplitHostPort(c.addr); err == nil && port != defaultPort {
		cs.GatewayHostName = c.addr
	}
	return cs, !d.Primary.IsZero()
}

func devicePath(id string) string { return "/devices/" + url.PathEscape(id) }

// UnmarshalJSON reads the hub's form. A time that is not one is zero: the hub writes the year 1, with and without a zone, for never.
func (d *Device) UnmarshalJSON(text []byte) error {
	type plain Device
	in := struct {
		*plain
		LastActivity   string  `json:"lastActivityTime"`
		StatusReason   *string `json:"statusReason"`
		Authentication struct {
			Type string `json:"type"`
			Keys struct {
				Primary   string `json:"primaryKey"`
				Secondary string `json:"secondaryKey"`
			} `json:"symmetricKey"`
		} `json:"authentication"`
	}{plain: (*plain)(d)}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	if t, err := time.Parse(time.RFC3339, in.LastActivity); err == nil && t.Year() > 1 {
		d.LastActivity = t
	}
	if in.StatusReason != nil {
		d.StatusReason = *in.StatusReason
	}
	d.Authentication = in.Authentication.Type
	d.Primary, _ = sas.ParseKey(in.Authentication.Keys.Primary) // zero for a device without
	d.Secondary, _ = sas.ParseKey(in.Authentication.Keys.Secondary)
	return nil
}
