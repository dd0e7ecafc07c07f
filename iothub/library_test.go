package iothub

import amqp "github.com/Azure/go-amqp"

// encode makes the message that the AMQP library would have to encode. There is always one data section, for a message with no section at all is never transferred.
func (m *Message) encode() *amqp.Message {
	p := &amqp.MessageProperties{MessageID: m.ID}
	if m.CorrelationID != "" {
		p.CorrelationID = m.CorrelationID
	}
	if m.ContentType != "" {
		p.ContentType = &m.ContentType
	}
	if m.ContentEncoding != "" {
		p.ContentEncoding = &m.ContentEncoding
	}
	var properties map[string]any
	if len(m.Properties) > 0 || !m.Created.IsZero() {
		properties = make(map[string]any, len(m.Properties)+1)
		for _, p := range m.Properties {
			properties[p.Name] = p.Value
		}
	}
	if !m.Created.IsZero() {
		properties[creationTime] = m.Created.UTC().Format(creationStyle)
	}
	return &amqp.Message{Properties: p, ApplicationProperties: properties, Data: [][]byte{m.Body}}
}
