package hubsim

import (
	"encoding/json"
	"fmt"
)

// Twin is the twin of a device or a module.
type Twin struct {
	// Tags, Desired and Reported are JSON objects; the last two with their "$version".
	Tags, Desired, Reported json.RawMessage
	// DesiredVersion and ReportedVersion count the changes of the two.
	DesiredVersion, ReportedVersion int64
}

// Twin returns the twin of a device, or of a module as "DEVICE/MODULE".
func (s *Server) Twin(id string) (Twin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		return Twin{}, fmt.Errorf("twin of %q: %w", id, ErrUnknownDevice)
	}
	t := Twin{DesiredVersion: d.twin.desired.version, ReportedVersion: d.twin.reported.version}
	for _, part := range []struct {
		to *json.RawMessage
		of map[string]any
	}{{&t.Tags, d.twin.tags}, {&t.Desired, d.twin.desired.render(false)}, {&t.Reported, d.twin.reported.render(false)}} {
		var err error
		if *part.to, err = json.Marshal(part.of); err != nil {
			return Twin{}, fmt.Errorf("twin of %q: %w", id, err)
		}
	}
	return t, nil
}

// UpdateDesired merges a JSON object into the desired properties of a device, or of a module as "DEVICE/MODULE", as a service would; null
// deletes. A device that has asked for it hears of the change.
func (s *Server) UpdateDesired(id, patch string) error {
	o, err := parseObject([]byte(patch))
	if err != nil {
		return fmt.Errorf("desired properties of %q: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		return fmt.Errorf("desired properties of %q: %w", id, ErrUnknownDevice)
	}
	if err := s.updateTwinLocked(d, twinUpdate{desired: &o}); err != nil {
		return fmt.Errorf("desired properties of %q: %w", id, err)
	}
	return nil
}

// twinUpdate is what a service wants of a twin; nil parts stay. A part that points to nil, JSON's null, is emptied.
type twinUpdate struct {
	tags, desired *map[string]any
	replace       bool
}

// updateTwinLocked changes all that is asked for, or nothing, and tells the device.
func (s *Server) updateTwinLocked(d *device, u twinUpdate) error {
	next, now := *d.twin, s.opts.Now()
	if u.tags != nil {
		patch, err := checkPatch(*u.tags)
		if err != nil {
			return err
		}
		old := next.tags
		if u.replace || *u.tags == nil {
			old = nil
		}
		next.tags, _ = merge(old, nil, patch, metadata{})
		if n := sizeOf(next.tags); n > maxTags {
			return tooLarge("The tags have %d bytes, %d are allowed.", n, maxTags)
		}
	}
	var news map[string]any
	if u.desired != nil {
		patch, err := checkPatch(*u.desired)
		if err != nil {
			return err
		}
		replace := u.replace || *u.desired == nil
		if next.desired, err = next.desired.changed(patch, replace, true, now); err != nil {
			return err
		}
		if news = patch; replace {
			news = difference(d.twin.desired.props, next.desired.props)
		}
	}
	if u.tags == nil && u.desired == nil {
		return nil
	}
	next.version++
	next.tag++
	*d.twin = next
	if news != nil {
		s.notifyDesiredLocked(d, news)
	}
	s.noteLocked()
	return nil
}

// reportLocked merges what a device reports of itself.
func (s *Server) reportLocked(d *device, patch map[string]any) error {
	patch, err := checkPatch(patch)
	if err != nil {
		return err
	}
	next, err := d.twin.reported.changed(patch, false, false, s.opts.Now())
	if err != nil {
		return err
	}
	d.twin.reported = next
	d.twin.version++
	return nil
}
