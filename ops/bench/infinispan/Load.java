import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.infinispan.client.hotrod.DataFormat;
import org.infinispan.client.hotrod.RemoteCache;
import org.infinispan.client.hotrod.RemoteCacheManager;
import org.infinispan.client.hotrod.annotation.ClientCacheEntryCreated;
import org.infinispan.client.hotrod.annotation.ClientCacheEntryModified;
import org.infinispan.client.hotrod.annotation.ClientListener;
import org.infinispan.client.hotrod.configuration.ClientIntelligence;
import org.infinispan.client.hotrod.configuration.ConfigurationBuilder;
import org.infinispan.client.hotrod.event.ClientCacheEntryCreatedEvent;
import org.infinispan.client.hotrod.event.ClientCacheEntryModifiedEvent;
import org.infinispan.commons.dataconversion.MediaType;
import org.infinispan.commons.marshall.IdentityMarshaller;

/**
 * Fills, puts, gets and hears entries of a cache of Infinispan Server over Hot Rod. It does as {@code landbridge bench}
 * does, so that figures can be compared: latencies count from when an operation should have begun, and those operations
 * count that end within the measured time (of events: whose put should have begun within it). An event of Hot Rod names the
 * key and has no value, so the puts that no event has told yet are kept per key. Of several puts of a key the other site may
 * tell the last alone, so an event is measured from the first of them, and stands for all.
 */
final class Load {
  private static final int FILL_IN_FLIGHT = 256;
  private static final int RATE_IN_FLIGHT = 1024;
  private static final long SILENCE_NANOS = TimeUnit.SECONDS.toNanos(5);
  private static final long PATIENCE_SECONDS = 30;

  private final Map<String, String> of;
  private final int keys;
  private final byte[][] keyBytes;
  private final int valueBytes;
  private final int seconds;
  private final long epoch = System.nanoTime();
  private long begin;
  private long end;
  private final ConcurrentLinkedQueue<Long> latencies = new ConcurrentLinkedQueue<>();
  private final AtomicInteger operations = new AtomicInteger();
  private final AtomicInteger errors = new AtomicInteger();
  private volatile String firstError = "";

  public static void main(String[] args) throws Exception {
    Map<String, String> of = new HashMap<>();
    for (int at = 1; at + 1 < args.length; at += 2) {
      of.put(args[at], args[at + 1]);
    }
    new Load(of).run(args[0]);
    System.exit(0);
  }

  private Load(Map<String, String> of) {
    this.of = of;
    keys = number("--keys", 100_000);
    keyBytes = new byte[keys][];
    Arrays.setAll(keyBytes, Load::made);
    valueBytes = number("--value-bytes", 256);
    seconds = number("--seconds", 10);
  }

  private int number(String name, int otherwise) {
    return Integer.parseInt(of.getOrDefault(name, Integer.toString(otherwise)));
  }

  private void run(String what) throws Exception {
    try (RemoteCacheManager here = connect("--server"); RemoteCacheManager there = connect("--listen")) {
      RemoteCache<byte[], byte[]> cache = cache(here);
      switch (what) {
        case "fill" -> fill(cache, cache(there));
        case "put", "get" -> closed(cache, what.equals("put"));
        case "event" -> event(cache, cache(there));
        default -> throw new IllegalArgumentException(what + " is none of fill, put, get, event");
      }
    }
  }

  private RemoteCacheManager connect(String name) {
    String[] address = of.get(name).split(":");
    ConfigurationBuilder configuration = new ConfigurationBuilder();
    configuration.addServer().host(address[0]).port(Integer.parseInt(address[1]));
    configuration.clientIntelligence(ClientIntelligence.BASIC).marshaller(IdentityMarshaller.INSTANCE);
    return new RemoteCacheManager(configuration.build());
  }

  private static RemoteCache<byte[], byte[]> cache(RemoteCacheManager manager) {
    RemoteCache<byte[], byte[]> cache = manager.getCache("bench");
    DataFormat bytes = DataFormat.builder()
        .keyType(MediaType.APPLICATION_OCTET_STREAM).valueType(MediaType.APPLICATION_OCTET_STREAM)
        .keyMarshaller(IdentityMarshaller.INSTANCE).valueMarshaller(IdentityMarshaller.INSTANCE).build();
    return cache.withDataFormat(bytes);
  }

  private byte[] key(int number) {
    return keyBytes[number];
  }

  private static byte[] made(int number) {
    return String.format(Locale.ROOT, "bench-%010d", number).getBytes(StandardCharsets.US_ASCII);
  }

  private byte[] value() {
    byte[] value = new byte[valueBytes];
    ThreadLocalRandom.current().nextBytes(value);
    return value;
  }

  /** Puts an entry under every key, and waits until the other site has them all. */
  private void fill(RemoteCache<byte[], byte[]> here, RemoteCache<byte[], byte[]> there) throws Exception {
    Semaphore places = new Semaphore(FILL_IN_FLIGHT);
    for (int number = 0; number < keys; number++) {
      places.acquire();
      here.putAsync(key(number), value()).whenComplete((done, error) -> {
        ended(error, 0, false);
        places.release();
      });
    }
    places.acquire(FILL_IN_FLIGHT);
    if (errors.get() > 0) {
      throw new IllegalStateException(errors.get() + " puts failed; the first: " + firstError);
    }
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS * 4);
    while (there.size() < keys) {
      if (System.nanoTime() > deadline) {
        throw new TimeoutException(there.size() + " of " + keys + " entries are at the other site");
      }
      Thread.sleep(200);
    }
  }

  private void spanFromNow() {
    begin = System.nanoTime() + TimeUnit.SECONDS.toNanos(number("--warmup", 2));
    end = begin + TimeUnit.SECONDS.toNanos(seconds);
  }

  private boolean within(long at) {
    return at - begin >= 0 && at - end < 0;
  }

  /** So many requests under way until the time ends, each begun when one before it has ended. */
  private void closed(RemoteCache<byte[], byte[]> cache, boolean put) throws Exception {
    int inFlight = number("--in-flight", 64);
    spanFromNow();
    CountDownLatch left = new CountDownLatch(inFlight);
    for (int worker = 0; worker < inFlight; worker++) {
      next(cache, put, left);
    }
    if (!left.await(seconds + number("--warmup", 2) + PATIENCE_SECONDS, TimeUnit.SECONDS)) {
      throw new TimeoutException(left.getCount() + " requests have not been answered");
    }
    print(0);
  }

  private void next(RemoteCache<byte[], byte[]> cache, boolean put, CountDownLatch left) {
    long begun = System.nanoTime();
    if (begun - end >= 0) {
      left.countDown();
      return;
    }
    byte[] key = key(ThreadLocalRandom.current().nextInt(keys));
    CompletableFuture<byte[]> answer = put ? cache.putAsync(key, value()) : cache.getAsync(key);
    answer.whenComplete((found, error) -> {
      long now = System.nanoTime();
      Throwable missing = !put && error == null && found == null ? new IllegalStateException("no entry") : error;
      ended(missing, now - begun, within(now));
      if (error == null) {
        next(cache, put, left);
      } else {
        // What fails at once would call itself without end.
        ForkJoinPool.commonPool().execute(() -> next(cache, put, left));
      }
    });
  }

  private void ended(Throwable error, long nanos, boolean counts) {
    if (error != null) {
      if (errors.getAndIncrement() == 0) {
        firstError = error.toString();
      }
    } else if (counts) {
      operations.incrementAndGet();
      latencies.add(nanos);
    }
  }

  /** So many puts a second, whatever they take, each measured until its event comes from the other site. */
  private void event(RemoteCache<byte[], byte[]> here, RemoteCache<byte[], byte[]> there) throws Exception {
    long interval = TimeUnit.SECONDS.toNanos(1) / number("--rate", 200);
    Heard heard = new Heard();
    there.addClientListener(heard);
    spanFromNow();
    Semaphore places = new Semaphore(RATE_IN_FLIGHT);
    int puts = 0;
    for (long due = System.nanoTime(); due - end < 0; due += interval) {
      while (System.nanoTime() - due < 0) {
        LockSupport.parkNanos(due - System.nanoTime());
      }
      places.acquire();
      if (System.nanoTime() - end >= 0) {
        break;
      }
      byte[] key = key(ThreadLocalRandom.current().nextInt(keys));
      heard.put(key, due);
      puts += within(due) ? 1 : 0;
      here.putAsync(key, value()).whenComplete((done, error) -> {
        ended(error, 0, false);
        places.release();
      });
    }
    heard.awaitAll(puts);
    there.removeClientListener(heard);
    print(puts - latencies.size() - errors.get());
  }

  private void print(int coalesced) {
    long[] sorted = latencies.stream().mapToLong(Long::longValue).sorted().toArray();
    System.out.printf(Locale.ROOT,
        "{\"operations_per_second\": %f, \"p50_us\": %f, \"p99_us\": %f, \"max_us\": %f, \"errors\": %d, "
            + "\"first_error\": \"%s\", \"coalesced\": %d}%n",
        (double) operations.get() / seconds, us(sorted, 0.5), us(sorted, 0.99), us(sorted, 1), errors.get(),
        firstError.replace('\\', '/').replace('"', '\'').replaceAll("\\p{Cntrl}", " "), Math.max(0, coalesced));
  }

  private static double us(long[] sorted, double quantile) {
    return sorted.length == 0 ? 0 : sorted[(int) Math.min(sorted.length * quantile, sorted.length - 1)] / 1000.0;
  }

  /** What the other site tells. */
  @ClientListener
  public final class Heard {
    private final Map<ByteBuffer, Long> untold = new ConcurrentHashMap<>();
    private final AtomicLong last = new AtomicLong(System.nanoTime());

    void put(byte[] key, long due) {
      untold.putIfAbsent(ByteBuffer.wrap(key), due);
    }

    @ClientCacheEntryCreated
    public void created(ClientCacheEntryCreatedEvent<byte[]> event) {
      told(event.getKey());
    }

    @ClientCacheEntryModified
    public void modified(ClientCacheEntryModifiedEvent<byte[]> event) {
      told(event.getKey());
    }

    private void told(byte[] key) {
      long now = System.nanoTime();
      last.set(now);
      Long due = untold.remove(ByteBuffer.wrap(key));
      if (due != null && within(due)) {
        latencies.add(now - due);
        operations.addAndGet(within(now) ? 1 : 0);
      }
    }

    /** Until all have been heard, or none for a while. */
    void awaitAll(int puts) throws InterruptedException {
      last.set(System.nanoTime());
      while (latencies.size() < puts && System.nanoTime() - last.get() < SILENCE_NANOS) {
        Thread.sleep(20);
      }
    }
  }
}
