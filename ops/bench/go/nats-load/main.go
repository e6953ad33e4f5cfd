// Command nats-load fills, puts, gets and hears entries of a key-value bucket of NATS JetStream, at one server and, where
// there are two, at its mirror.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"landbridge/bench/load"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	bucket = "bench"
	stream = "KV_" + bucket
	// Of the first site's server; its API is asked for at the second under that name.
	domain = "site1"
	// Operations until they count as failed, and how long anything that is waited for may take.
	patience     = 30 * time.Second
	fillPatience = 10 * time.Minute
	fillInFlight = 4096
	// Puts whose answers are awaited, at a rate: as many as may be needed where answers are slow.
	rateInFlight = 1024
)

type arguments struct {
	server, mirror, tls                                            string
	inFlight, connections, rate, seconds, warmup, keys, valueBytes int
}

func main() {
	var of arguments
	flag.StringVar(&of.server, "server", "", "HOST:PORT of the first site's server")
	flag.StringVar(&of.mirror, "mirror", "", "HOST:PORT of the second's; empty: there is none")
	flag.StringVar(&of.tls, "tls", "", "directory of ca.pem, both.pem, both.key")
	flag.IntVar(&of.inFlight, "in-flight", 64, "requests under way")
	flag.IntVar(&of.connections, "connections", 1, "connections that they are spread over")
	flag.IntVar(&of.rate, "rate", 200, "puts a second of `event`")
	flag.IntVar(&of.seconds, "seconds", 10, "how long to measure")
	flag.IntVar(&of.warmup, "warmup", 2, "how long to run before that")
	flag.IntVar(&of.keys, "keys", 100_000, "different keys")
	flag.IntVar(&of.valueBytes, "value-bytes", 256, "bytes of a value")
	flag.Parse()
	if err := of.run(flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (of arguments) run(what string) error {
	switch what {
	case "fill":
		return of.fill()
	case "await":
		return of.await()
	case "put", "get":
		return of.closed(what)
	case "event":
		return of.event()
	}
	return fmt.Errorf("%q is none of fill, await, put, get, event", what)
}

// connect dials a server and finds JetStream there.
func (of arguments) connect(address string) (jetstream.JetStream, error) {
	encryption, err := load.TLS(of.tls)
	if err != nil {
		return nil, err
	}
	connection, err := nats.Connect("tls://"+address, nats.Secure(encryption), nats.Timeout(patience))
	if err != nil {
		return nil, err
	}
	return jetstream.New(connection, jetstream.WithPublishAsyncMaxPending(fillInFlight))
}

// bucket is the one of that name at a server.
func (of arguments) bucket(address string) (jetstream.KeyValue, error) {
	js, err := of.connect(address)
	if err != nil {
		return nil, err
	}
	ctx, done := context.WithTimeout(context.Background(), patience)
	defer done()
	return js.KeyValue(ctx, bucket)
}

// fill makes the bucket, its mirror, and an entry under every key, and waits until both servers have all of them.
func (of arguments) fill() error {
	ctx, done := context.WithTimeout(context.Background(), fillPatience)
	defer done()
	js, err := of.connect(of.server)
	if err != nil {
		return err
	}
	made := jetstream.KeyValueConfig{Bucket: bucket, History: 1, Storage: jetstream.FileStorage}
	if _, err := js.CreateKeyValue(ctx, made); err != nil {
		return fmt.Errorf("no bucket: %w", err)
	}
	epoch := time.Now()
	for number := range of.keys {
		subject := "$KV." + bucket + "." + load.Key(number)
		// One that fails is missing when they are counted.
		value, wait := load.Value(epoch, epoch, of.valueBytes), jetstream.WithStallWait(patience)
		if _, err := js.PublishAsync(subject, value, wait); err != nil {
			return fmt.Errorf("key %d of %d: %w", number, of.keys, err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return fmt.Errorf("no answers: %w", ctx.Err())
	}
	if err := awaitEntries(ctx, js, of.keys); err != nil || of.mirror == "" {
		return err
	}
	there, err := of.connect(of.mirror)
	if err != nil {
		return err
	}
	made.Mirror = &jetstream.StreamSource{Name: stream, Domain: domain}
	if _, err := there.CreateKeyValue(ctx, made); err != nil {
		return fmt.Errorf("no mirror: %w", err)
	}
	return awaitEntries(ctx, there, of.keys)
}

func awaitEntries(ctx context.Context, js jetstream.JetStream, wanted int) error {
	for {
		found, err := js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		entries := int(found.CachedInfo().State.Msgs)
		if entries >= wanted {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d entries are there: %w", entries, wanted, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// await returns once the server answers with an entry.
func (of arguments) await() error {
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		entries, err := of.bucket(of.server)
		if err == nil {
			if _, err = entries.Get(context.Background(), load.Key(0)); err == nil {
				return nil
			}
		}
		last = err
	}
	return fmt.Errorf("no answer: %w", last)
}

func (of arguments) buckets() ([]jetstream.KeyValue, error) {
	var found []jetstream.KeyValue
	for range of.connections {
		one, err := of.bucket(of.server)
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

func (of arguments) closed(what string) error {
	buckets, err := of.buckets()
	if err != nil {
		return err
	}
	epoch, span, turn := time.Now(), load.SpanFromNow(of.warmup, of.seconds), atomic.Uint64{}
	counts := load.Closed(of.inFlight, span, func(begin time.Time) error {
		entries := buckets[turn.Add(1)%uint64(len(buckets))]
		ctx, done := context.WithTimeout(context.Background(), patience)
		defer done()
		key := load.Key(rand.IntN(of.keys))
		if what == "get" {
			_, err := entries.Get(ctx, key)
			return err
		}
		_, err := entries.Put(ctx, key, load.Value(begin, epoch, of.valueBytes))
		return err
	})
	return counts.Print(os.Stdout, of.seconds)
}

func (of arguments) event() error {
	if of.mirror == "" {
		return errors.New("events need a mirror")
	}
	here, err := of.bucket(of.server)
	if err != nil {
		return err
	}
	there, err := of.bucket(of.mirror)
	if err != nil {
		return err
	}
	watcher, err := there.WatchAll(context.Background(), jetstream.UpdatesOnly())
	if err != nil {
		return err
	}
	epoch, span, heard := time.Now(), load.SpanFromNow(of.warmup, of.seconds), new(load.Counts)
	go func() {
		for entry := range watcher.Updates() {
			now := time.Now()
			// Without a value it says that nothing was there before.
			if entry == nil {
				continue
			}
			if begin := load.Stamp(entry.Value(), epoch); span.Has(begin) {
				heard.Took(now.Sub(begin), span.Has(now))
			}
		}
	}()
	puts := load.Open(of.rate, rateInFlight, span, func(begin time.Time) error {
		ctx, done := context.WithTimeout(context.Background(), patience)
		defer done()
		_, err := here.Put(ctx, load.Key(rand.IntN(of.keys)), load.Value(begin, epoch, of.valueBytes))
		return err
	})
	heard.AwaitAll(puts)
	return heard.Print(os.Stdout, of.seconds)
}
