package sentinel

import "time"

// What becomes of reloads that are asked for while the proxy does not serve.

// resumeReloads begins with what was asked for before Run. The lifecycle lock is held.
func (p *Proxy) resumeReloads() {
	r := &p.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next != nil {
		r.running = true
		p.background.Go(p.reloadAll)
	}
}

// refuseReload ends an attempt that cannot be made, and tells of it everywhere.
func (p *Proxy) refuseReload(a *attempt) {
	a.result = &ReloadResult{Trigger: a.trigger, At: time.Now(), Generation: p.snapshot.Load().generation}
	a.err = errNotServing
	p.reloadFailed(a.result, a.err)
	r := &p.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = a.result
	r.counts[0]++
	close(a.done)
}

// dropReloads ends what waits for Run when that is not to be.
func (p *Proxy) dropReloads() {
	p.lifecycle.Lock()
	p.first = nil // nobody waits for it from now on
	p.lifecycle.Unlock()
	r := &p.reloads
	r.mu.Lock()
	a := r.next
	r.next = nil
	r.mu.Unlock()
	if a != nil {
		p.refuseReload(a)
	}
}
