package hubsim

import (
	"encoding/json"
	"net/http"
	"time"
)

// twinJSON is a twin as the REST API has it.
type twinJSON struct {
	DeviceID                  string          `json:"deviceId"`
	ModuleID                  string          `json:"moduleId,omitempty"`
	ETag                      string          `json:"etag"`
	DeviceETag                string          `json:"deviceEtag"`
	Status                    string          `json:"status"`
	StatusReason              *string         `json:"statusReason,omitempty"`
	StatusUpdateTime          string          `json:"statusUpdateTime"`
	ConnectionState           string          `json:"connectionState"`
	LastActivityTime          string          `json:"lastActivityTime"`
	CloudToDeviceMessageCount int             `json:"cloudToDeviceMessageCount"`
	AuthenticationType        authType        `json:"authenticationType"`
	X509Thumbprint            *x509Thumbprint `json:"x509Thumbprint"`
	ModelID                   string          `json:"modelId"`
	Version                   int64           `json:"version"`
	Tags                      map[string]any  `json:"tags,omitempty"`
	Properties                twinProperties  `json:"properties"`
	Capabilities              *capabilities   `json:"capabilities,omitempty"`
}

type twinProperties struct {
	Desired  map[string]any `json:"desired"`
	Reported map[string]any `json:"reported"`
}

func (d *device) restTwin() *answer {
	t := &twinJSON{
		DeviceID: d.id, ModuleID: d.module, ETag: d.twin.etag(), DeviceETag: d.etag, Status: d.status(), StatusReason: textOrNil(d.reason),
		StatusUpdateTime: restTime(d.statusChanged), ConnectionState: d.connectionState(), LastActivityTime: restTime(d.lastActivity),
		CloudToDeviceMessageCount: len(d.commands.items), AuthenticationType: d.auth, X509Thumbprint: d.restThumbprints(), ModelID: d.model,
		Version: d.twin.version, Tags: d.twin.tags, Properties: twinProperties{d.twin.desired.render(true), d.twin.reported.render(true)},
	}
	if d.module == "" {
		t.Capabilities = &capabilities{d.edge}
	}
	return &answer{etag: t.ETag, body: t}
}

func (s *Server) getTwin(r *http.Request) (*answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[identityOf(r)]
	if d == nil {
		return nil, s.unknownLocked(identityOf(r))
	}
	return d.restTwin(), nil
}

func (s *Server) patchTwin(r *http.Request) (*answer, error) { return s.changeTwin(r, false) }

func (s *Server) putTwin(r *http.Request) (*answer, error) { return s.changeTwin(r, true) }

func (s *Server) changeTwin(r *http.Request, replace bool) (*answer, error) {
	var in struct {
		Tags       json.RawMessage `json:"tags"`
		Properties struct {
			Desired json.RawMessage `json:"desired"`
		} `json:"properties"`
	}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	u := twinUpdate{replace: replace}
	for _, part := range []struct {
		text json.RawMessage
		to   **map[string]any
	}{{in.Tags, &u.tags}, {in.Properties.Desired, &u.desired}} {
		if part.text == nil {
			continue
		}
		o := new(map[string]any)
		if string(part.text) != "null" {
			var err error
			if *o, err = parseObject(part.text); err != nil {
				return nil, err
			}
		}
		*part.to = o
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[identityOf(r)]
	if d == nil {
		return nil, s.unknownLocked(identityOf(r))
	}
	if !matches(r, d.twin.etag()) {
		return nil, etagMismatch()
	}
	if err := s.updateTwinLocked(d, u); err != nil {
		return nil, err
	}
	return d.restTwin(), nil
}

// postMethod invokes a direct method and waits for the device's answer.
func (s *Server) postMethod(r *http.Request) (*answer, error) {
	in := struct {
		MethodName string          `json:"methodName"`
		Payload    json.RawMessage `json:"payload"`
		Response   int             `json:"responseTimeoutInSeconds"`
		Connect    int             `json:"connectTimeoutInSeconds"`
	}{Response: 30}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if in.Response < 5 || in.Response > 300 || in.Connect < 0 || in.Connect > 300 {
		return nil, badArgument("want responseTimeoutInSeconds from 5 to 300 and connectTimeoutInSeconds from 0 to 300.")
	}
	result, err := s.callMethod(r.Context(), identityOf(r), MethodCall{
		Name: in.MethodName, Payload: in.Payload,
		ResponseTimeout: time.Duration(in.Response) * time.Second, ConnectTimeout: time.Duration(in.Connect) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return &answer{body: result}, nil
}
