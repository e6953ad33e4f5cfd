// Command redis-events puts at one Redis and hears of it at its replica, by keyspace notifications. A notification names
// the key alone, so the puts under way are kept per key: the replica tells of them in their order.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"landbridge/bench/load"

	"github.com/redis/go-redis/v9"
)

const channel = "__keyspace@0__:"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// untold holds, per key, when the puts should have begun that no notification has told yet.
type untold struct {
	mutex sync.Mutex
	puts  map[string][]time.Time
}

func (u *untold) put(key string, begin time.Time) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	u.puts[key] = append(u.puts[key], begin)
}

func (u *untold) told(key string) (time.Time, bool) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	puts := u.puts[key]
	if len(puts) == 0 {
		return time.Time{}, false
	}
	if len(puts) == 1 {
		delete(u.puts, key)
	} else {
		u.puts[key] = puts[1:]
	}
	return puts[0], true
}

func run() error {
	put := flag.String("put", "", "HOST:PORT where to put")
	hear := flag.String("hear", "", "HOST:PORT of its replica")
	certificates := flag.String("tls", "", "directory of ca.pem, both.pem, both.key")
	rate := flag.Int("rate", 200, "puts a second")
	seconds := flag.Int("seconds", 10, "how long to measure")
	warmup := flag.Int("warmup", 2, "how long to run before that")
	keys := flag.Int("keys", 100_000, "different keys")
	bytes := flag.Int("value-bytes", 256, "bytes of a value")
	connections := flag.Int("connections", 16, "connections that put")
	flag.Parse()

	ctx, epoch := context.Background(), time.Now()
	encryption, err := load.TLS(*certificates)
	if err != nil {
		return err
	}
	from := redis.NewClient(&redis.Options{Addr: *hear, TLSConfig: encryption})
	defer from.Close()
	subscription := from.PSubscribe(ctx, channel+"*")
	defer subscription.Close()
	if _, err := subscription.Receive(ctx); err != nil {
		return fmt.Errorf("the replica takes no subscription: %w", err)
	}
	events := subscription.Channel(redis.WithChannelSize(1 << 20))
	to := redis.NewClient(&redis.Options{
		Addr: *put, TLSConfig: encryption, PoolSize: *connections, MinIdleConns: *connections, MaxRetries: -1,
		PoolTimeout: time.Minute,
	})
	defer to.Close()

	span := load.SpanFromNow(*warmup, *seconds)
	heard, waiting := new(load.Counts), &untold{puts: map[string][]time.Time{}}
	go func() {
		for event := range events {
			now := time.Now()
			if begin, ours := waiting.told(strings.TrimPrefix(event.Channel, channel)); ours && span.Has(begin) {
				heard.Took(now.Sub(begin), span.Has(now))
			}
		}
	}()
	puts := load.Open(*rate, *connections, span, func(begin time.Time) error {
		key := fmt.Sprintf("key:%012d", rand.IntN(*keys)) // as redis-benchmark names them
		waiting.put(key, begin)
		return to.Set(ctx, key, load.Value(begin, epoch, *bytes), 0).Err()
	})
	heard.AwaitAll(puts)
	return heard.Print(os.Stdout, *seconds)
}
