// Package load is what the load generators share: keys, values with the time in them, when operations begin, and what is
// told of them. It does as `landbridge bench` does, so that figures can be compared.
package load

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Silence is after how long without an event at the end all have been heard that there were.
const Silence = 5 * time.Second

// Span is from when until when it counts.
type Span struct{ Begin, End time.Time }

// SpanFromNow has a warm-up before it.
func SpanFromNow(warmup, seconds int) Span {
	begin := time.Now().Add(time.Duration(warmup) * time.Second)
	return Span{begin, begin.Add(time.Duration(seconds) * time.Second)}
}

// Has says whether that time is within.
func (s Span) Has(at time.Time) bool { return !at.Before(s.Begin) && at.Before(s.End) }

// Key has sixteen bytes.
func Key(number int) string { return fmt.Sprintf("bench-%010d", number) }

// Value begins with the nanoseconds from the epoch to when its put should have begun; the rest doesn't repeat.
func Value(begin, epoch time.Time, bytes int) []byte {
	value := make([]byte, bytes, bytes+8)
	for at := 8; at < bytes; at += 8 {
		binary.BigEndian.PutUint64(value[at:at+8], rand.Uint64())
	}
	binary.BigEndian.PutUint64(value, uint64(begin.Sub(epoch)))
	return value
}

// Stamp is when the put of a value should have begun.
func Stamp(value []byte, epoch time.Time) time.Time {
	return epoch.Add(time.Duration(binary.BigEndian.Uint64(value)))
}

// Counts is what was done, and how long each took.
type Counts struct {
	mutex      sync.Mutex
	operations int
	errors     int
	firstError string
	coalesced  int
	latencies  []time.Duration
}

// Done counts operations that took so long together.
func (c *Counts) Done(operations int, latency time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.operations += operations
	c.latencies = append(c.latencies, latency)
}

// Took counts an event; whether it counts for the rate is another question.
func (c *Counts) Took(latency time.Duration, within bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.latencies = append(c.latencies, latency)
	if within {
		c.operations++
	}
}

// Failed counts an operation that failed.
func (c *Counts) Failed(err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.errors++
	if c.firstError == "" {
		c.firstError = err.Error()
	}
}

// AwaitAll waits until each of the puts has been heard or nothing has come for Silence, and tells how many never were.
func (c *Counts) AwaitAll(puts *Counts) {
	count, since := c.measured(), time.Now()
	for count < puts.operations && time.Since(since) < Silence {
		time.Sleep(5 * time.Millisecond)
		if now := c.measured(); now != count {
			count, since = now, time.Now()
		}
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.coalesced = max(0, puts.operations-len(c.latencies))
	c.errors, c.firstError = c.errors+puts.errors, puts.firstError
}

func (c *Counts) measured() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.latencies)
}

// Print writes the figures as JSON.
func (c *Counts) Print(to io.Writer, seconds int) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	slices.Sort(c.latencies)
	us := func(quantile float64) float64 {
		if len(c.latencies) == 0 {
			return 0
		}
		at := min(int(quantile*float64(len(c.latencies))), len(c.latencies)-1)
		return float64(c.latencies[at]) / float64(time.Microsecond)
	}
	return json.NewEncoder(to).Encode(map[string]any{
		"operations_per_second": float64(c.operations) / float64(seconds),
		"p50_us":                us(0.5),
		"p99_us":                us(0.99),
		"max_us":                us(1),
		"errors":                c.errors,
		"first_error":           c.firstError,
		"coalesced":             c.coalesced,
	})
}

// Closed runs `operation` in so many workers until the span ends, each beginning anew when it has ended, and counts those
// that end within it.
func Closed(inFlight int, span Span, operation func(begin time.Time) error) *Counts {
	counts := new(Counts)
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for begin := time.Now(); begin.Before(span.End); begin = time.Now() {
				err := operation(begin)
				counts.ended(err, time.Now(), begin, span.Has(time.Now()))
			}
		})
	}
	workers.Wait()
	return counts
}

// Open begins so many operations a second, whatever they take, with so many under way at most; those count that should
// have begun within the span. What is due and has not begun when it ends is left.
func Open(rate, inFlight int, span Span, operation func(begin time.Time) error) *Counts {
	counts := new(Counts)
	// As many as all of the span has: who keeps the pace never waits.
	due := make(chan time.Time, int(time.Until(span.End).Seconds()+1)*rate)
	go pace(rate, span.End, due)
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for begin := range due {
				if !time.Now().Before(span.End) {
					return
				}
				err := operation(begin)
				counts.ended(err, time.Now(), begin, span.Has(begin))
			}
		})
	}
	workers.Wait()
	return counts
}

func (c *Counts) ended(err error, now, begin time.Time, within bool) {
	switch {
	case !within:
	case err != nil:
		c.Failed(err)
	default:
		c.Done(1, now.Sub(begin))
	}
}

// pace tells when each operation should begin. The runtime's timers wake at whole milliseconds when little is going on, so
// a thread sleeps.
func pace(rate int, end time.Time, due chan<- time.Time) {
	runtime.LockOSThread()
	defer close(due)
	interval := time.Second / time.Duration(rate)
	for at := time.Now(); at.Before(end); at = at.Add(interval) {
		if wait := time.Until(at); wait > 0 {
			span := syscall.NsecToTimespec(int64(wait))
			// Cut short by a signal it begins early, by less than an interval.
			_ = syscall.Nanosleep(&span, nil)
		}
		due <- at
	}
}
