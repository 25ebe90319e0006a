// Package limit holds what bounds work: token buckets by key, gates with a bounded line of waiters, counts by client,
// and the memory of the machine. It is pure: it knows no clock, no socket and no configuration.
//
// Times are monotonic, counted from whatever moment the caller likes, and passed in.
//
// # Waiting in a Queue
//
// A Queue does not know what its waiters wait for. Who gives something back calls Wake afterwards; who
// wants something and finds nothing joins the line, looks again, and only then waits:
//
//	w, ok := q.Join()
//	if !ok {
//		return errFull
//	}
//	defer q.Wake()
//	defer w.Leave()
//	for look := w.First(); !look || !take(); look = true {
//		if err := w.Wait(ctx); err != nil {
//			return err
//		}
//		w.Rejoin()
//	}
//
// Looking only when in line, both times, is what makes sure that no wake-up is lost: whatever is given
// back after the look finds the waiter in line. Who leaves wakes the next, since more may have been given
// back while nobody was in line.
package limit
