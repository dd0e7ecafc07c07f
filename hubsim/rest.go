package hubsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxRequest bounds the body of a REST request: a twin with all its parts, or a method's payload, with room to spare.
const maxRequest = 512 << 10

// routes are the endpoints of the HTTPS side. The REST API is the service's, version 2021-04-12; other versions of the query parameter
// api-version are answered the same way.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /$iothub/websocket", s.serveWebSocket)
	for pattern, e := range map[string]struct {
		need right
		serve
	}{
		"GET /devices":                           {registryRead, s.listDevices},
		"GET /devices/{id}":                      {registryRead, s.getDevice},
		"PUT /devices/{id}":                      {registryWrite, s.putDevice},
		"DELETE /devices/{id}":                   {registryWrite, s.deleteDevice},
		"GET /devices/{id}/modules":              {registryRead, s.listModules},
		"GET /devices/{id}/modules/{mid}":        {registryRead, s.getDevice},
		"PUT /devices/{id}/modules/{mid}":        {registryWrite, s.putDevice},
		"DELETE /devices/{id}/modules/{mid}":     {registryWrite, s.deleteDevice},
		"DELETE /devices/{id}/commands":          {serviceConnect, s.deleteCommands},
		"GET /twins/{id}":                        {serviceConnect, s.getTwin},
		"PATCH /twins/{id}":                      {serviceConnect, s.patchTwin},
		"PUT /twins/{id}":                        {serviceConnect, s.putTwin},
		"POST /twins/{id}/methods":               {serviceConnect, s.postMethod},
		"GET /twins/{id}/modules/{mid}":          {serviceConnect, s.getTwin},
		"PATCH /twins/{id}/modules/{mid}":        {serviceConnect, s.patchTwin},
		"PUT /twins/{id}/modules/{mid}":          {serviceConnect, s.putTwin},
		"POST /twins/{id}/modules/{mid}/methods": {serviceConnect, s.postMethod},
		"GET /statistics/devices":                {registryRead, s.getStatistics},
		"GET /statistics/service":                {serviceConnect, s.getServiceStatistics},
	} {
		mux.Handle(pattern, s.endpoint(e.need, e.serve))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.refuse(w, &failure{status: 404, code: 404000, name: "NotFound", message: "There is no such resource on this hub."})
	})
	return withoutFinalSlash(mux)
}

// withoutFinalSlash lets "/devices/" be "/devices", as some SDKs spell it.
func withoutFinalSlash(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") && r.URL.Path != "/" {
			r = r.Clone(r.Context())
			r.URL.Path, r.URL.RawPath = strings.TrimSuffix(r.URL.Path, "/"), strings.TrimSuffix(r.URL.RawPath, "/")
		}
		h.ServeHTTP(w, r)
	})
}

// serve carries out one request that is authorized.
type serve func(*http.Request) (*answer, error)

// answer is the successful end of a request.
type answer struct {
	status int // 0: 200
	etag   string
	body   any // nil: none
}

// endpoint lets a request through that has the right it needs, and writes what comes of it.
func (s *Server) endpoint(need right, f serve) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := s.permit(r, need)
		var a *answer
		if err == nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
			a, err = f(r)
		}
		if err != nil {
			s.refuse(w, err)
			return
		}
		if a.etag != "" {
			w.Header().Set("ETag", `"`+a.etag+`"`)
		}
		status := a.status
		if status == 0 {
			status = http.StatusOK
		}
		if a.body == nil {
			w.WriteHeader(status)
			return
		}
		s.writeJSON(w, status, a.body)
	})
}

// permit judges the header Authorization: a token of a policy with the right that is needed, for the whole hub or for this path.
func (s *Server) permit(r *http.Request, need right) error {
	denied := func(message string) error {
		return &failure{status: 401, code: 401002, name: "IotHubUnauthorizedAccess", message: message}
	}
	text := r.Header.Get("Authorization")
	if text == "" {
		return denied("Unauthorized: the header Authorization is missing.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, refusal := s.authorizeLocked(text)
	switch {
	case refusal != nil:
		s.opts.Logger.Info("token refused", "status", refusal.status, "reason", refusal.text, "path", r.URL.Path)
		return denied("Unauthorized: " + refusal.text)
	case g.rights&need == 0:
		return denied("Unauthorized: the token's policy lacks the right that this needs.")
	case g.resource != "" && !strings.HasPrefix(strings.Trim(r.URL.Path, "/")+"/", g.resource+"/"):
		return denied("Unauthorized: the token is for another resource.")
	}
	return nil
}

// refuse answers with an error in the shape of IoT Hub's REST API.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	var f *failure
	if !errors.As(err, &f) {
		s.opts.Logger.Warn("request failed", "error", err)
		f = &failure{status: 500, code: 500001, name: "ServerError", message: "The hub could not do it; its log says why."}
	}
	body := struct{ Message, ExceptionMessage string }{Message: "ErrorCode:" + f.name + ";" + f.message}
	now := s.opts.Now().UTC()
	if f.asJSON {
		body.Message = describe(f.code, f.message, now)
	} else {
		body.ExceptionMessage = fmt.Sprintf("Tracking ID:%s-TimeStamp:%s", randomHex(16), now.Format("01/02/2006 15:04:05"))
	}
	w.Header().Set("iothub-errorcode", f.name)
	s.writeJSON(w, f.status, body)
}

func (s *Server) writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // cannot happen: values that came as JSON
		s.opts.Logger.Warn("answer cannot be encoded", "error", err)
		status, text = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text) // a peer that left needs no answer
}

// readJSON decodes a request's body.
func readJSON(r *http.Request, into any) error {
	data, err := io.ReadAll(r.Body)
	if errors.As(err, new(*http.MaxBytesError)) {
		return tooLarge("The request has more than %d bytes.", maxRequest)
	}
	if err != nil {
		return badArgument("The request's body cannot be read.")
	}
	if err := json.Unmarshal(data, into); err != nil {
		return badArgument("The request's body is not the JSON that is wanted: %v", err)
	}
	return nil
}

// identityOf returns the key of the identity that a request's path names.
func identityOf(r *http.Request) string { return identityKey(r.PathValue("id"), r.PathValue("mid")) }

// matches holds an If-Match header against the current etag: true without one. Some SDKs put the star in quotes.
func matches(r *http.Request, etag string) bool {
	want := strings.Trim(r.Header.Get("If-Match"), `"`)
	return want == "" || want == "*" || want == etag
}

// restTime is a time as the REST API writes it; the zero time is the year 1.
func restTime(t time.Time) string {
	if t.IsZero() {
		return "0001-01-01T00:00:00Z"
	}
	return t.UTC().Format("2006-01-02T15:04:05.0000000Z")
}
