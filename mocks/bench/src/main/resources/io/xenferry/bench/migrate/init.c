/*
 * The only program of the guest that the benchmark moves: its init. It loads the modules in
 * /modules, writes to the first virtio disk, and says on a serial port how it fares.
 *
 * Kernel command line:
 *   xf.rate=N       bytes per second to write, 0 for none, "max" for as many as the disk takes
 *   xf.area=BYTES   the writes go to this many bytes from the disk's start (default 256 MiB)
 *   xf.block=BYTES  size of a write, a multiple of 4096 (default 16 KiB)
 *   xf.port=NAME    where the lines below go (default ttyS1)
 *
 * Lines, of which a reader may find the first cut off; times are of the guest's own clock, which
 * stands still while the guest does:
 *   R <ms>                               ready: the writer begins
 *   H <ms> <number>                      heartbeat, each 10 ms
 *   S <ms> w=<writes> e=<errors> g=<us> h=<bucket>:<n>,...
 *                                        each 250 ms: writes and errors since the start, the longest gap between two
 *                                        heartbeats and the latencies of the writes since the last such line
 *   V checked=<n> bad=<n>                after "v" was received: writing has ended, and each block
 *                                        was read back and compared with what was last written to it
 *
 * Bucket b of a latency of u microseconds: u below 8; else 8 buckets to each power of two.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { BUCKETS = 256, SECTOR = 512, HEARTBEAT_MS = 10, REPORT_MS = 250 };

static const uint64_t MAGIC = 0x5846457272795247ull;
static const int64_t NS = 1000000000ll;
/* A writer that fell behind by more does not make it up. */
static const int64_t CATCH_UP = 20 * 1000000ll;

static int port = -1;
static int disk = -1;
static int64_t rate;
static uint64_t area = 256u << 20;
static uint32_t block = 16384;
static uint64_t *last; /* sequence number last written to each block */
static uint32_t histogram[BUCKETS];
static uint64_t writes, errors;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int stop_writing;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * NS + t.tv_nsec;
}

static void sleep_until(int64_t at) {
  struct timespec t = {.tv_sec = at / NS, .tv_nsec = at % NS};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
  }
}

static void say(const char *text, size_t length) {
  while (length > 0) {
    ssize_t n = write(port, text, length);
    if (n <= 0) {
      return;
    }
    text += n;
    length -= (size_t)n;
  }
}

static void fail(const char *what) {
  char line[200];
  int n = snprintf(line, sizeof line, "E %s: %s\n", what, strerror(errno));
  if (port >= 0) {
    say(line, (size_t)n);
  }
  fputs(line, stderr);
  for (;;) {
    pause();
  }
}

static int bucket_of(uint64_t us) {
  if (us < 8) {
    return (int)us;
  }
  int power = 63 - __builtin_clzll(us);
  int index = (power - 2) * 8 + (int)((us >> (power - 3)) & 7);
  return index < BUCKETS ? index : BUCKETS - 1;
}

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/* Each sector tells its block and the number of the write, so that a torn or a lost one shows. */
static void stamp(unsigned char *buffer, uint64_t index, uint64_t number) {
  for (uint32_t at = 0; at < block; at += SECTOR) {
    uint64_t words[3] = {MAGIC, index, number};
    memcpy(buffer + at, words, sizeof words);
  }
}

static void write_blocks(unsigned char *buffer) {
  uint64_t random = 88172645463325252ull, number = 0;
  int64_t interval = rate > 0 ? NS * (int64_t)block / rate : 0, due = now();
  while (!stop_writing) {
    if (interval > 0) {
      due += interval;
      int64_t time = now();
      if (due < time - CATCH_UP) {
        due = time;
      } else if (due > time) {
        sleep_until(due);
      }
    }
    uint64_t index = next_random(&random) % (area / block);
    stamp(buffer, index, ++number);
    int64_t began = now();
    ssize_t done = pwrite(disk, buffer, block, (off_t)(index * block));
    uint64_t us = (uint64_t)(now() - began) / 1000;
    pthread_mutex_lock(&lock);
    histogram[bucket_of(us)]++;
    if (done == (ssize_t)block) {
      writes++;
      last[index] = number;
    } else {
      errors++;
    }
    pthread_mutex_unlock(&lock);
  }
}

static void verify(unsigned char *buffer) {
  uint64_t checked = 0, bad = 0;
  for (uint64_t index = 0; index < area / block; index++) {
    if (last[index] == 0) {
      continue;
    }
    checked++;
    if (pread(disk, buffer, block, (off_t)(index * block)) != (ssize_t)block) {
      bad++;
      continue;
    }
    for (uint32_t at = 0; at < block; at += SECTOR) {
      uint64_t words[3];
      memcpy(words, buffer + at, sizeof words);
      if (words[0] != MAGIC || words[1] != index || words[2] != last[index]) {
        bad++;
        break;
      }
    }
  }
  char line[100];
  int n = snprintf(line, sizeof line, "V checked=%llu bad=%llu\n", (unsigned long long)checked,
                   (unsigned long long)bad);
  pthread_mutex_lock(&lock);
  say(line, (size_t)n);
  pthread_mutex_unlock(&lock);
}

static void *writer(void *unused) {
  unsigned char *buffer;
  if (posix_memalign((void **)&buffer, 4096, block) != 0) {
    fail("memory");
  }
  uint64_t random = 1234567;
  for (uint32_t at = 0; at < block; at += 8) {
    uint64_t word = next_random(&random);
    memcpy(buffer + at, &word, 8);
  }
  if (rate != 0) {
    write_blocks(buffer);
  } else {
    while (!stop_writing) {
      usleep(20000);
    }
  }
  verify(buffer);
  return unused;
}

static void *listener(void *unused) {
  char c;
  while (read(port, &c, 1) == 1) {
    if (c == 'v') {
      stop_writing = 1;
    }
  }
  return unused;
}

static void report(int64_t time, int64_t gap) {
  static char line[8192];
  size_t n = (size_t)snprintf(line, sizeof line, "S %lld w=%llu e=%llu g=%lld h=", time / 1000000ll,
                              (unsigned long long)writes, (unsigned long long)errors, gap / 1000ll);
  const char *comma = "";
  for (int i = 0; i < BUCKETS && n < sizeof line - 40; i++) {
    if (histogram[i] != 0) {
      n += (size_t)snprintf(line + n, sizeof line - n, "%s%d:%u", comma, i, histogram[i]);
      comma = ",";
      histogram[i] = 0;
    }
  }
  line[n++] = '\n';
  say(line, n);
}

static void beat(void) {
  char line[64];
  int64_t due = now(), before = due, gap = 0, reported = due;
  say(line, (size_t)snprintf(line, sizeof line, "R %lld\n", due / 1000000ll));
  for (uint64_t number = 1;; number++) {
    due += HEARTBEAT_MS * 1000000ll;
    if (due < now()) {
      due = now();
    }
    sleep_until(due);
    int64_t time = now();
    if (time - before > gap) {
      gap = time - before;
    }
    before = time;
    pthread_mutex_lock(&lock);
    say(line, (size_t)snprintf(line, sizeof line, "H %lld %llu\n", time / 1000000ll,
                               (unsigned long long)number));
    if (time - reported >= REPORT_MS * 1000000ll) {
      report(time, gap);
      reported = time;
      gap = 0;
    }
    pthread_mutex_unlock(&lock);
  }
}

static void load_modules(void) {
  FILE *order = fopen("/modules/order", "r");
  char name[200], path[220];
  while (order != NULL && fscanf(order, "%199s", name) == 1) {
    snprintf(path, sizeof path, "/modules/%s", name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || syscall(SYS_finit_module, file, "", 0) != 0) {
      fprintf(stderr, "%s: %s\n", path, strerror(errno));
    }
    close(file);
  }
}

static void open_port(const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/dev/%s", name);
  port = open(path, O_RDWR | O_NOCTTY);
  if (port < 0) {
    fail(path);
  }
  struct termios settings;
  if (tcgetattr(port, &settings) == 0) {
    cfmakeraw(&settings);
    cfsetspeed(&settings, B115200);
    settings.c_cflag |= CLOCAL | CREAD;
    tcsetattr(port, TCSANOW, &settings);
  }
}

static void read_settings(void) {
  static char text[4096];
  char port_name[32] = "ttyS1";
  int file = open("/proc/cmdline", O_RDONLY);
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  text[length < 0 ? 0 : length] = 0;
  for (char *word = strtok(text, " \n"); word != NULL; word = strtok(NULL, " \n")) {
    if (strncmp(word, "xf.rate=", 8) == 0) {
      rate = strcmp(word + 8, "max") == 0 ? -1 : atoll(word + 8);
    } else if (strncmp(word, "xf.area=", 8) == 0) {
      area = strtoull(word + 8, NULL, 10);
    } else if (strncmp(word, "xf.block=", 9) == 0) {
      block = (uint32_t)strtoul(word + 9, NULL, 10);
    } else if (strncmp(word, "xf.port=", 8) == 0) {
      snprintf(port_name, sizeof port_name, "%s", word + 8);
    }
  }
  open_port(port_name);
  if (block < 4096 || block % 4096 != 0 || area < block) {
    errno = EINVAL;
    fail("xf.block or xf.area");
  }
}

static void open_disk(void) {
  for (int i = 0; i < 500 && disk < 0; i++) {
    disk = open("/dev/vda", O_RDWR | O_DIRECT);
    if (disk < 0) {
      usleep(10000);
    }
  }
  if (disk < 0) {
    fail("/dev/vda");
  }
  last = calloc(area / block, sizeof *last);
  if (last == NULL) {
    fail("memory");
  }
}

int main(void) {
  mount("proc", "/proc", "proc", 0, "");
  mount("dev", "/dev", "devtmpfs", 0, "");
  load_modules();
  read_settings();
  open_disk();
  /* Heartbeats go on whatever the writer does. */
  struct sched_param priority = {.sched_priority = 10};
  pthread_t thread;
  if (pthread_create(&thread, NULL, listener, NULL) != 0 ||
      pthread_create(&thread, NULL, writer, NULL) != 0) {
    fail("thread");
  }
  sched_setscheduler(0, SCHED_FIFO, &priority);
  beat();
}
