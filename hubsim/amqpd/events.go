package amqpd

// post queues a callback, to be run in order with the others. mu is held.
func (c *Conn) post(f func()) {
	c.events = append(c.events, f)
	if !c.dispatching {
		signal(c.wake)
	}
}

// runEvents runs the queued callbacks and those that they queue. cb is held.
func (c *Conn) runEvents() {
	for {
		c.mu.Lock()
		if len(c.events) == 0 {
			c.events = nil
			c.dispatching = false
			c.mu.Unlock()
			return
		}
		f := c.events[0]
		c.events = c.events[1:]
		c.mu.Unlock()
		f()
	}
}

// notify runs the callbacks that other goroutines than the reader cause.
func (c *Conn) notify() {
	for {
		select {
		case <-c.wake:
			c.cb.Lock()
			c.runEvents()
			c.cb.Unlock()
		case <-c.quit:
			return
		}
	}
}

// outbound returns the number of bytes on their way to the peer. mu is held.
func (c *Conn) outbound() int { return c.w.buffered() + c.pendingBytes }

// hasRoom tells the handler about credit that could not be used before.
func (c *Conn) hasRoom() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkRoom()
}

// checkRoom is hasRoom with mu held.
func (c *Conn) checkRoom() {
	if !c.starved || c.ended || c.outbound() > softLimit/2 {
		return
	}
	c.starved = false
	for _, s := range c.sessions {
		for _, l := range s.links {
			if l.credit > 0 {
				l.postCredit()
			}
		}
	}
}
