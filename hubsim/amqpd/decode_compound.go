package amqpd

import (
	"errors"
	"fmt"
)

// compound reads a list, a map or an array from p, which holds the count and
// the elements and nothing else.
func (d *decoder) compound(code byte, p []byte) (any, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.leave()
	in := &decoder{b: p, depth: d.depth}
	n := 4
	if code&0x10 == 0 {
		n = 1
	}
	cp, err := in.take(n)
	if err != nil {
		return nil, err
	}
	count, err := number(cp)
	if err != nil {
		return nil, err
	}
	var v any
	switch code {
	case fmtList8, fmtList32:
		v, err = in.list(count)
	case fmtMap8, fmtMap32:
		v, err = in.mapping(count)
	default:
		v, err = in.array(count)
	}
	if err != nil {
		return nil, err
	}
	if len(in.b) != 0 {
		return nil, fmt.Errorf("%d bytes behind the last element", len(in.b))
	}
	return v, nil
}

func (d *decoder) list(count int) ([]any, error) {
	if count > len(d.b) {
		return nil, errShort
	}
	out := make([]any, count)
	for i := range out {
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (d *decoder) mapping(count int) (Map, error) {
	if count%2 != 0 {
		return nil, errors.New("map with an odd number of elements")
	}
	if count > len(d.b) {
		return nil, errShort
	}
	out := make(Map, count/2)
	for i := range out {
		k, err := d.value()
		if err != nil {
			return nil, err
		}
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		out[i] = MapEntry{k, v}
	}
	return out, nil
}

// array reads the constructor, then the elements.
func (d *decoder) array(count int) (Array, error) {
	p, err := d.take(1)
	if err != nil {
		if count == 0 { // some peers leave the constructor out
			return Array{}, nil
		}
		return nil, err
	}
	code := p[0]
	var desc any
	if code == fmtDescribed {
		if desc, err = d.descriptor(); err != nil {
			return nil, err
		}
		if p, err = d.take(1); err != nil {
			return nil, err
		}
		code = p[0]
	}
	if fixedWidth(code) == 0 {
		if count > maxZeroWidth {
			return nil, fmt.Errorf("array of %d elements without bytes", count)
		}
	} else if count > len(d.b) {
		return nil, errShort
	}
	out := make(Array, count)
	for i := range out {
		v, err := d.primitive(code)
		if err != nil {
			return nil, err
		}
		if desc != nil {
			v = &Described{Descriptor: desc, Value: v}
		}
		out[i] = v
	}
	return out, nil
}
