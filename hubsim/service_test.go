package hubsim_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"iotagent/hubsim"
	"iotagent/iothub/sas"
)

// redirected follows the hub's redirect for a telemetry address: the address at the other end, and how to get there.
func redirected(t *testing.T, service *client, address string) (*url.URL, *amqp.Error) {
	t.Helper()
	_, err := service.NewReceiver(stepContext(t), address, nil)
	var remote *amqp.Error
	if !errors.As(err, &remote) || remote.Condition != amqp.ErrCondLinkRedirect {
		t.Fatalf("%s: got %v, want a redirect", address, err)
	}
	text, ok := remote.Info["address"].(string)
	if !ok {
		t.Fatalf("no address in %v", remote.Info)
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u, remote
}

func TestRedirect(t *testing.T) {
	b := newBed(t, nil)
	service := b.connectService()
	u, remote := redirected(t, service, "/messages/events/ConsumerGroups/$Default/Partitions/2")
	if u.Path != "/iothub-ehub-localhost/ConsumerGroups/$Default/Partitions/2" || u.Scheme != "amqps" || u.Host != "localhost:5671" {
		t.Errorf("address %s", u)
	}
	if remote.Info["hostname"] != "localhost" || remote.Info["network-host"] != "localhost" || remote.Info["port"] != int32(5671) {
		t.Errorf("info %#v", remote.Info)
	}
	if u, _ := redirected(t, service, "messages/events/$management"); u.Path != "/iothub-ehub-localhost/$management" {
		t.Errorf("management at %s", u)
	}
	_, err := b.connectDevice().NewReceiver(stepContext(t), "messages/events/$management", nil)
	var refused *amqp.Error
	if !errors.As(err, &refused) || refused.Condition != amqp.ErrCondUnauthorizedAccess {
		t.Errorf("a device at $management: %v", err)
	}
}

// afterRedirect connects the way a service does there: each with its own credentials.
func (b *bed) afterRedirect() map[string]*client {
	c, err := b.ServiceConnection("service")
	if err != nil {
		b.t.Fatal(err)
	}
	raw := sas.NewKey([]byte(c.Key.Text()))
	soon := time.Now().Add(time.Hour)
	clients := map[string]*client{
		"plain key":   b.connect(amqp.SASLTypePlain("service", c.Key.Text())),
		"key decoded": b.connect(nil),
		"key text":    b.connect(nil),
	}
	clients["key decoded"].authorize(c.Key.Token("amqps://localhost:5671/iothub-ehub-localhost/ConsumerGroups/$Default/Partitions/0", soon, "service"))
	clients["key text"].authorize(raw.Token("sb://localhost/iothub-ehub-localhost", soon, "service"))
	return clients
}

func TestManagementAndPartitionsAfterTheRedirect(t *testing.T) {
	b := newBed(t, &hubsim.Options{Partitions: 3})
	device := b.connectDevice()
	s := device.sender(eventsAddress)
	for i := range 5 {
		accepted(t, device.send(s, amqp.NewMessage(fmt.Append(nil, i))))
	}
	partition := fmt.Sprint(b.Events()[0].Partition)
	for name, c := range b.afterRedirect() {
		t.Run(name, func(t *testing.T) {
			replies := c.receiver("$management", &amqp.ReceiverOptions{TargetAddress: "my-replies"})
			requests := c.sender("$management")
			read := func(kind, partition string) (map[string]any, int32) {
				reply := "my-replies"
				m := &amqp.Message{
					Properties:            &amqp.MessageProperties{MessageID: kind, ReplyTo: &reply},
					ApplicationProperties: map[string]any{"operation": "READ", "name": "iothub-ehub-localhost", "type": kind, "partition": partition},
					Data:                  [][]byte{{}},
				}
				if err := requests.Send(stepContext(t), m, nil); err != nil {
					t.Fatal(err)
				}
				got := c.receive(replies)
				if got.Properties.CorrelationID != kind {
					t.Errorf("correlation-id %v", got.Properties.CorrelationID)
				}
				status, _ := got.ApplicationProperties["status-code"].(int32)
				value, _ := got.Value.(map[string]any)
				return value, status
			}
			hub, status := read("com.microsoft:eventhub", "")
			if diff := cmp.Diff([]string{"0", "1", "2"}, hub["partition_ids"]); diff != "" || status != 200 || hub["partition_count"] != int32(3) {
				t.Errorf("%d %v %s", status, hub, diff)
			}
			info, status := read("com.microsoft:partition", partition)
			if status != 200 || info["begin_sequence_number"] != int64(0) || info["last_enqueued_sequence_number"] != int64(4) || info["last_enqueued_offset"] != "4" {
				t.Errorf("%d %v", status, info)
			}
			if _, status := read("com.microsoft:partition", "3"); status != 404 {
				t.Errorf("a partition too many: %d", status)
			}
			if _, status := read("com.microsoft:else", ""); status != 400 {
				t.Errorf("another type: %d", status)
			}
			if _, err := c.NewSender(stepContext(t), "/messages/devicebound", nil); err == nil && name != "key decoded" {
				t.Error("credentials of the events side may send commands")
			}
		})
	}
}

func TestPartitionReceiversStartWhereTheirFilterSays(t *testing.T) {
	var now time.Time
	base := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	now = base
	b := newBed(t, &hubsim.Options{Now: func() time.Time { return now }, DirectEvents: true})
	device, service := b.connect(nil), b.connect(nil)
	device.authorize(b.device.Key.Token("localhost/devices/pi-17", base.Add(time.Hour), ""))
	c, err := b.ServiceConnection("service")
	if err != nil {
		t.Fatal(err)
	}
	service.authorize(c.Key.Token("localhost", base.Add(time.Hour), "service"))
	s := device.sender(eventsAddress)
	for i := range 6 {
		now = base.Add(time.Duration(i) * time.Second) // the hub is idle: the last answer has come
		accepted(t, device.send(s, amqp.NewMessage([]byte{byte('0' + i)})))
	}
	address := fmt.Sprintf("messages/events/ConsumerGroups/$Default/Partitions/%d", b.Events()[0].Partition)
	read := func(r *amqp.Receiver, n int) string {
		var got strings.Builder
		for range n {
			m := service.receive(r)
			got.Write(m.GetData())
		}
		return got.String()
	}
	for filter, want := range map[string]string{
		"": "012345",
		"amqp.annotation.x-opt-sequence-number > 2":                                      "345",
		"amqp.annotation.x-opt-sequence-number >= '2'":                                   "2345",
		"amqp.annotation.x-opt-offset > '1'":                                             "2345",
		"amqp.annotation.x-opt-offset >= '1'":                                            "12345",
		fmt.Sprintf("amqp.annotation.x-opt-enqueued-time > %d", base.UnixMilli()+3000):   "45",
		fmt.Sprintf("amqp.annotation.x-opt-enqueued-time >= %d", base.UnixMilli()+3000):  "345",
		fmt.Sprintf("amqp.annotation.x-opt-enqueuedtimeutc > %d", base.UnixMilli()+3000): "45",
	} {
		o := &amqp.ReceiverOptions{Credit: 10}
		if filter != "" {
			o.Filters = []amqp.LinkFilter{amqp.NewSelectorFilter(filter)}
		}
		r := service.receiver(address, o)
		if got := read(r, len(want)); got != want {
			t.Errorf("%q: got %s, want %s", filter, got, want)
		}
		if m := r.Prefetched(); m != nil {
			t.Errorf("%q: more than wanted: %s", filter, m.GetData())
		}
	}
	live := service.receiver(address, &amqp.ReceiverOptions{Filters: []amqp.LinkFilter{amqp.NewSelectorFilter("amqp.annotation.x-opt-offset > '@latest'")}})
	accepted(t, device.send(s, amqp.NewMessage([]byte("new"))))
	m := service.receive(live)
	if string(m.GetData()) != "new" || m.Annotations["x-opt-sequence-number"] != int64(6) || m.Annotations["x-opt-offset"] != "6" ||
		m.Annotations["iothub-connection-device-id"] != "pi-17" {
		t.Errorf("%s with %#v", m.GetData(), m.Annotations)
	}
	_, err = service.NewReceiver(stepContext(t), address, &amqp.ReceiverOptions{Filters: []amqp.LinkFilter{amqp.NewSelectorFilter("x = 1")}})
	var remote *amqp.Error
	if !errors.As(err, &remote) || remote.Condition != amqp.ErrCondInvalidField {
		t.Errorf("a filter nobody knows: %v", err)
	}
}

func TestHigherEpochStealsThePartition(t *testing.T) {
	b := newBed(t, &hubsim.Options{DirectEvents: true})
	c := b.connectService()
	const address = "messages/events/ConsumerGroups/$Default/Partitions/0"
	epoch := func(n int64) *amqp.ReceiverOptions {
		return &amqp.ReceiverOptions{Properties: map[string]any{"com.microsoft:epoch": n}}
	}
	plain, other := c.receiver(address, nil), c.receiver("messages/events/ConsumerGroups/other/Partitions/0", nil)
	first := c.receiver(address, epoch(1))
	stolen := func(r *amqp.Receiver, who string) {
		t.Helper()
		_, err := r.Receive(stepContext(t), nil)
		var link *amqp.LinkError
		if !errors.As(err, &link) || link.RemoteErr == nil || link.RemoteErr.Condition != amqp.ErrCondStolen {
			t.Errorf("%s ended with %v", who, err)
		}
	}
	stolen(plain, "the receiver without an epoch")
	c.receiver(address, epoch(2))
	stolen(first, "epoch 1")
	for _, o := range []*amqp.ReceiverOptions{epoch(1), nil} {
		if _, err := c.NewReceiver(stepContext(t), address, o); err == nil {
			t.Error("a lower epoch was let in")
		}
	}
	if err := other.Close(stepContext(t)); err != nil {
		t.Errorf("another consumer group was disturbed: %v", err)
	}
}
