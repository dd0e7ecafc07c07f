package hubsim_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
	"iotagent/iothub/sas"
)

func TestPutTokenEchoesEveryIDType(t *testing.T) {
	b := newBed(t, nil)
	pair := b.connect(nil).cbs()
	for i, id := range []any{"text", amqp.UUID{1, 2, 3}, uint64(7), []byte{9}} {
		name := []string{"localhost/devices/pi-17", "localhost%2Fdevices%2Fpi-17", "amqps://localhost/devices/pi-17", "x"}[i]
		status, text, got := pair.put(id, name, b.deviceToken(time.Hour))
		if status != 200 || text != "OK" || fmt.Sprintf("%T %v", got, got) != fmt.Sprintf("%T %v", id, id) {
			t.Errorf("id %T %v: %d %s, correlation-id %T %v", id, id, status, text, got, got)
		}
	}
}

func TestPutTokenBeforeTheReplyLinkHasCredit(t *testing.T) {
	b := newBed(t, nil)
	c := b.connect(nil)
	out := c.sender("/$CBS")
	if err := out.Send(stepContext(t), tokenRequest("early", "n", b.deviceToken(time.Hour)), nil); err != nil {
		t.Fatal(err)
	}
	pair := &cbs{c, out, c.receiver("$cbs", nil)}
	if status, _, id := pair.answer(); status != 200 || id != "early" {
		t.Errorf("%d for %v", status, id)
	}
	accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte("x"))))
}

func TestPutTokenRefusals(t *testing.T) {
	b := newBed(t, nil)
	pair := b.connect(nil).cbs()
	wrong := sas.NewKey([]byte("wrong"))
	soon := time.Now().Add(time.Hour)
	for want, token := range map[string]string{
		"401 The specified SAS token is expired":             b.deviceToken(-time.Minute),
		"401 The specified SAS token has an invalid":         wrong.Token("localhost/devices/pi-17", soon, ""),
		"401 Device ghost at IotHub localhost not registere": wrong.Token("localhost/devices/ghost", soon, ""),
		"404 The token is for another hub":                   b.device.Key.Token("other.example/devices/pi-17", soon, ""),
		"400 ":                                               "nonsense",
	} {
		status, text, _ := pair.put("1", "n", token)
		if got := fmt.Sprint(status, " ", text); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	broken := tokenRequest("1", "n", b.deviceToken(time.Hour))
	broken.ApplicationProperties["operation"] = "delete-token"
	if err := pair.out.Send(stepContext(t), broken, nil); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := pair.answer(); status != 400 {
		t.Errorf("unknown operation: %d, want 400", status)
	}
	if _, err := pair.NewSender(stepContext(t), eventsAddress, nil); err == nil {
		t.Error("a link was opened without a token")
	}
}

func TestTooManyTokens(t *testing.T) {
	b := newBed(t, nil)
	pair := b.connect(nil).cbs()
	c, err := b.ServiceConnection("device")
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int) int32 {
		status, _, _ := pair.put("1", "n", c.Key.Token(fmt.Sprint("localhost/devices/d", n), time.Now().Add(time.Hour), "device"))
		return status
	}
	for n := range 1000 {
		if status := put(n); status != 200 {
			t.Fatalf("token %d: %d", n+1, status)
		}
	}
	if status := put(1000); status != 403 {
		t.Errorf("token 1001: %d, want 403", status)
	}
	if status := put(5); status != 200 {
		t.Errorf("a renewal: %d", status)
	}
}

func TestTokensJudgedAtAttach(t *testing.T) {
	b := newBed(t, &hubsim.Options{TokensAtAttach: true})
	pair := b.connect(nil).cbs()
	wrong := sas.NewKey([]byte("wrong")).Token("localhost/devices/pi-17", time.Now().Add(time.Hour), "")
	if status, text, _ := pair.put("1", "n", wrong); status != 200 {
		t.Errorf("a token with a wrong signature: %d %s, want 200", status, text)
	}
	if status, _, _ := pair.put("2", "n", "nonsense"); status != 400 {
		t.Errorf("no token: %d, want 400", status)
	}
	_, err := pair.NewSender(stepContext(t), eventsAddress, nil)
	var remote *amqp.Error
	if !errors.As(err, &remote) || remote.Condition != amqp.ErrCondUnauthorizedAccess {
		t.Errorf("attach: %v, want %s", err, amqp.ErrCondUnauthorizedAccess)
	}
	if status, _, _ := pair.put("3", "n", b.deviceToken(time.Hour)); status != 200 {
		t.Errorf("a good token: %d", status)
	}
	pair.sender(eventsAddress)
}

func TestTokenSpellings(t *testing.T) {
	b := newBed(t, nil)
	pair := b.connect(nil).cbs()
	// Signed over sr exactly as it stands: encoded in capitals, in small letters, not at all.
	for _, sr := range []string{"localhost%2Fdevices%2Fpi-17", "localhost%2fdevices%2fpi-17", "localhost/devices/pi-17"} {
		if status, text, _ := pair.put("1", "n", sign(b.device.Key, sr, time.Now().Add(time.Hour))); status != 200 {
			t.Errorf("%s: %d %s", sr, status, text)
		}
	}
}

// sign makes a token whose sr stands as it is given.
func sign(k sas.Key, sr string, expires time.Time) string {
	mac := hmacSHA256(k, fmt.Sprintf("%s\n%d", sr, expires.Unix()))
	return fmt.Sprintf("SharedAccessSignature se=%d&sig=%s&sr=%s&skn=", expires.Unix(), url.QueryEscape(mac), sr)
}

func TestExpiredTokenCutsTheLinksAfterItsGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, &hubsim.Options{TokenGrace: 10 * time.Second})
		c := b.connect(nil)
		pair := c.authorize(b.deviceToken(time.Minute))
		s := c.sender(eventsAddress)
		time.Sleep(50 * time.Second)
		if status, text, _ := pair.put("2", "n", b.deviceToken(time.Minute)); status != 200 {
			t.Fatalf("renewal: %d %s", status, text)
		}
		if status, _, _ := pair.put("3", "n", b.deviceToken(-time.Minute)); status != 401 {
			t.Fatalf("an expired renewal: %d", status)
		}
		time.Sleep(59 * time.Second) // past the first token and its grace, near the end of the second
		accepted(t, c.send(s, amqp.NewMessage([]byte("renewed"))))
		time.Sleep(12 * time.Second)
		synctest.Wait()
		err := s.Send(t.Context(), amqp.NewMessage([]byte("late")), nil)
		var link *amqp.LinkError
		if !errors.As(err, &link) || link.RemoteErr == nil || link.RemoteErr.Condition != amqp.ErrCondUnauthorizedAccess || link.RemoteErr.Description != "Token Invalid." {
			t.Errorf("after the token's end: %v", err)
		}
		if status, _, _ := pair.put("4", "n", b.deviceToken(time.Minute)); status != 200 {
			t.Error("$cbs was cut too")
		}
		accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte("again"))))
	})
}

func TestWaysIn(t *testing.T) {
	b := newBed(t, nil)
	for name, sasl := range map[string]amqp.SASLType{
		"bare": nil, "anonymous": amqp.SASLTypeAnonymous(), "external": amqp.SASLTypeExternal(""),
	} {
		t.Run(name, func(t *testing.T) {
			c := b.connect(sasl)
			c.authorize(b.deviceToken(time.Hour))
			accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte(name))))
		})
	}
	t.Run("plain device", func(t *testing.T) {
		c := b.connect(amqp.SASLTypePlain("pi-17@sas.localhost", b.deviceToken(time.Hour)))
		accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte("plain"))))
	})
	t.Run("plain service", func(t *testing.T) {
		c := b.connect(amqp.SASLTypePlain("service@sas.root.localhost", b.policyToken("service", time.Hour)))
		to := commandsAddress
		accepted(t, c.send(c.sender("/messages/deviceBound"), &amqp.Message{Properties: &amqp.MessageProperties{To: &to}, Data: [][]byte{{1}}}))
	})
}

func TestWrongPlainIsSASLCodeTwo(t *testing.T) {
	for code, o := range map[string]*hubsim.Options{"code 0x2": nil, "code 0x1": {SASLFailure: 1}} {
		b := newBed(t, o)
		nc, err := b.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = amqp.NewConn(t.Context(), nc, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("pi-17@sas.localhost", "nonsense")})
		if err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("got %v, want %s", err, code)
		}
	}
}

func TestPlainConnectionEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, &hubsim.Options{TokenGrace: -1})
		c := b.connect(amqp.SASLTypePlain("pi-17@sas.localhost", b.deviceToken(time.Minute)))
		c.sender(eventsAddress)
		time.Sleep(time.Minute + time.Second)
		<-c.conn.Done()
		var remote *amqp.Error
		if !errors.As(c.conn.Err(), &remote) || remote.Condition != amqp.ErrCondUnauthorizedAccess {
			t.Errorf("ended with %v", c.conn.Err())
		}
	})
}

func TestDisabledDeviceLosesItsLinks(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	r := c.receiver(commandsAddress, nil)
	if err := b.DisableDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Receive(stepContext(t), nil)
	var link *amqp.LinkError
	if !errors.As(err, &link) || link.RemoteErr == nil || link.RemoteErr.Condition != amqp.ErrCondUnauthorizedAccess {
		t.Errorf("got %v", err)
	}
	if status, text, _ := b.connect(nil).cbs().put("1", "n", b.deviceToken(time.Hour)); status != 401 || !strings.Contains(text, "disabled") {
		t.Errorf("token of a disabled device: %d %s", status, text)
	}
	if err := b.EnableDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	b.connectDevice()
}
