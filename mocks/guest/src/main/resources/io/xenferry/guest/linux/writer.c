/*
 * The test guest's work: numbered, checksummed, durable records on every disk, and a heartbeat.
 *
 * Each disk /dev/vdX has a process of its own that writes record after record at places that follow
 * from the record's number alone (class RecordPlaces), each a DiskBlock (class DiskBlock), and waits
 * for the disk to have it on stable storage before the next. So whoever knows the number of the last
 * acknowledged record knows every byte that has to be on the disk.
 *
 * On the second serial port, every 10 ms, one line (class Heartbeat):
 *
 *   XF1 BOOT NANOSECONDS DISK:BLOCKS:FIRST:ACKNOWLEDGED:LONGEST:ERRORS … *CRC
 *
 * BOOT is a random number of this boot, the time that of CLOCK_MONOTONIC, BLOCKS how many blocks of the
 * disk are written to, FIRST the first record's number of this boot, LONGEST the longest time in nanoseconds from one acknowledgement to the next,
 * CRC a CRC32C of all before the asterisk. On the console, every second, the same for people.
 *
 * On the kernel's command line: xenferry.rate=BYTES a second over all disks (default 1 MiB; 0 writes
 * nothing), xenferry.span=BYTES at the beginning of each disk (default 64 MiB).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/input.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define DISKS 16
#define BLOCK 4096
#define HEARTBEAT_NS 10000000L
#define SECOND_NS 1000000000L
/* Far beyond what the boot before can have had in flight. */
#define JUMP 1000

struct disk {
  volatile pid_t writer;
  volatile uint64_t blocks, first, acknowledged, longest, errors;
};

static struct disk *disks;
static uint64_t uuid[2];
static uint64_t rate = 1 << 20, span = 64 << 20;
static uint32_t crc_table[256];

static void crc_init(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0x82F63B78u : c >> 1;
    crc_table[i] = c;
  }
}

static uint32_t crc32c(const void *data, size_t length) {
  const uint8_t *at = data;
  uint32_t c = ~0u;
  while (length--) c = crc_table[(c ^ *at++) & 0xff] ^ c >> 8;
  return ~c;
}

static uint64_t mix(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * (uint64_t)SECOND_NS + t.tv_nsec;
}

static void pause_until(uint64_t when) {
  struct timespec t = {when / SECOND_NS, when % SECOND_NS};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) continue;
}

/* RecordPlaces.block */
static uint64_t place(int disk, uint64_t record, uint64_t blocks) {
  return mix(record * 0x9E3779B97F4A7C15ull + disk) % blocks;
}

/* DiskBlock.put, of kind WRITE */
static void fill(uint8_t *block, int disk, uint64_t number, uint64_t sequence) {
  uint32_t kind = 2, index = disk;
  memcpy(block, "XFBLOCK1", 8);
  memcpy(block + 8, &kind, 4);
  memcpy(block + 12, &index, 4);
  memcpy(block + 16, &number, 8);
  memcpy(block + 24, &sequence, 8);
  memcpy(block + 32, uuid, 16);
  uint64_t state = sequence * 0x9E3779B97F4A7C15ull ^ number * 0xD1342543DE82EF95ull ^ (uint64_t)disk;
  for (int at = 48; at < BLOCK - 8; at += 8) {
    state += 0x9E3779B97F4A7C15ull;
    uint64_t z = mix(state);
    memcpy(block + at, &z, 8);
  }
  uint32_t tail = (uint32_t)state;
  memcpy(block + BLOCK - 8, &tail, 4);
  uint32_t crc = crc32c(block, BLOCK - 4);
  memcpy(block + BLOCK - 4, &crc, 4);
}

/* The highest record that a boot before this one has written. */
static uint64_t highest(int fd, uint8_t *buffer, size_t length, uint64_t size, int disk) {
  uint64_t found = 0;
  for (uint64_t at = 0; at < size; at += length) {
    ssize_t got = pread(fd, buffer, length, at);
    if (got <= 0) break;
    for (ssize_t b = 0; b + BLOCK <= got; b += BLOCK) {
      uint32_t kind, crc;
      uint64_t sequence;
      memcpy(&kind, buffer + b + 8, 4);
      memcpy(&sequence, buffer + b + 24, 8);
      memcpy(&crc, buffer + b + BLOCK - 4, 4);
      if (!memcmp(buffer + b, "XFBLOCK1", 8) && kind == 2 && (int)(sequence & 15) == disk &&
          sequence >> 4 > found && crc == crc32c(buffer + b, BLOCK - 4))
        found = sequence >> 4;
    }
  }
  return found;
}

static void write_records(int disk, const char *path) {
  struct disk *mine = &disks[disk];
  int fd = open(path, O_RDWR | O_DIRECT);
  uint64_t size = 0;
  uint8_t *buffer = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size) < 0 || size < 1 << 20) {
    printf("xenferry: %s is not written to: %s\n", path, strerror(errno));
    exit(0);
  }
  if (span < size) size = span;
  uint64_t blocks = size / BLOCK;
  uint64_t before = highest(fd, buffer, 1 << 20, size, disk);
  uint64_t record = before == 0 ? 1 : before + JUMP;
  mine->blocks = blocks;
  mine->acknowledged = record - 1;
  mine->first = record;
  uint64_t last = now(), next = last;
  for (;; record++) {
    uint64_t number = place(disk, record, blocks);
    fill(buffer, disk, number, record << 4 | disk);
    while (pwrite(fd, buffer, BLOCK, number * BLOCK) != BLOCK || fdatasync(fd) != 0) {
      /* The same record again: a number that is left out would be taken for written. */
      printf("xenferry: %s record %llu: %s\n", path, (unsigned long long)record, strerror(errno));
      mine->errors++;
      if (errno == ENXIO || errno == ENODEV) exit(0);
      sleep(1);
    }
    uint64_t done = now();
    if (done - last > mine->longest) mine->longest = done - last;
    last = done;
    mine->acknowledged = record;
    int writers = 0;
    for (int i = 0; i < DISKS; i++) writers += disks[i].writer != 0;
    next += BLOCK * SECOND_NS * writers / rate;
    if (next + SECOND_NS / 10 < done) next = done; /* nothing is made up for */
    if (next > done) {
      pause_until(next);
      last += next - done < SECOND_NS ? 0 : next - done; /* at slow rates the pause is no gap */
    }
  }
}

/* A process for every disk that has none: those plugged in later, too. */
static void look_for_disks(void) {
  for (int disk = 0; disk < DISKS; disk++) {
    char path[32], state[64], answer = '1';
    snprintf(path, sizeof path, "/dev/vd%c", 'a' + disk);
    snprintf(state, sizeof state, "/sys/block/vd%c/ro", 'a' + disk);
    int fd = open(state, O_RDONLY);
    if (fd < 0) continue;
    if (read(fd, &answer, 1) < 1) answer = '1';
    close(fd);
    if (answer == '0' && disks[disk].writer == 0 && rate > 0) {
      pid_t child = fork();
      if (child == 0) {
        write_records(disk, path);
        exit(0);
      }
      disks[disk].writer = child;
    }
  }
}

static void reap(void) {
  pid_t ended;
  while ((ended = waitpid(-1, NULL, WNOHANG)) > 0)
    for (int i = 0; i < DISKS; i++)
      if (disks[i].writer == ended) {
        disks[i].first = 0;
        disks[i].writer = 0;
      }
}

/* The power button: nobody else is here who would obey it. */
static void obey_power_button(void) {
  DIR *inputs = opendir("/dev/input");
  struct dirent *entry;
  while (inputs && (entry = readdir(inputs)) != NULL) {
    if (strncmp(entry->d_name, "event", 5)) continue;
    char path[280];
    snprintf(path, sizeof path, "/dev/input/%s", entry->d_name);
    if (fork() != 0) continue;
    int fd = open(path, O_RDONLY);
    struct input_event event;
    while (fd >= 0 && read(fd, &event, sizeof event) == sizeof event)
      if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1) {
        /* As services are stopped first: the kernel takes the disks away from whoever still writes. */
        for (int i = 0; i < DISKS; i++)
          if (disks[i].writer > 0) kill(disks[i].writer, SIGSTOP);
        sync();
        reboot(RB_POWER_OFF);
      }
    exit(0);
  }
}

static void settings(void) {
  char line[4096] = {0}, *word;
  int fd = open("/proc/cmdline", O_RDONLY);
  if (fd < 0 || read(fd, line, sizeof line - 1) < 0) return;
  close(fd);
  if ((word = strstr(line, "xenferry.rate="))) rate = strtoull(word + 14, NULL, 10);
  if ((word = strstr(line, "xenferry.span="))) span = strtoull(word + 14, NULL, 10);
}

/* The VM's uuid, as DMI has it: most significant half first, each little-endian on the disk. */
static void identity(void) {
  char text[64] = {0};
  int fd = open("/sys/class/dmi/id/product_uuid", O_RDONLY), digits = 0;
  if (fd < 0 || read(fd, text, sizeof text - 1) < 0) {
    printf("xenferry: this machine has no uuid\n");
    return;
  }
  for (char *c = text; *c && digits < 32; c++) {
    int value = *c >= '0' && *c <= '9' ? *c - '0' : (*c | 32) >= 'a' && (*c | 32) <= 'f' ? (*c | 32) - 'a' + 10 : -1;
    if (value >= 0) {
      uuid[digits / 16] = uuid[digits / 16] << 4 | value;
      digits++;
    }
  }
}

static int heartbeat_port(void) {
  int fd = open("/dev/ttyS1", O_WRONLY | O_NOCTTY);
  struct termios raw;
  if (fd >= 0 && tcgetattr(fd, &raw) == 0) {
    cfmakeraw(&raw);
    cfsetspeed(&raw, B115200);
    tcsetattr(fd, TCSANOW, &raw);
  }
  return fd;
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  crc_init();
  settings();
  identity();
  disks = mmap(NULL, sizeof(struct disk) * DISKS, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  uint64_t boot = 0;
  if (getrandom(&boot, sizeof boot, GRND_NONBLOCK) != sizeof boot) boot = now();
  obey_power_button();
  int port = heartbeat_port();
  uint64_t next = now(), second = 0;
  for (;;) {
    uint64_t at = now();
    char line[1024];
    int length = snprintf(line, sizeof line, "XF1 %016llx %llu ", (unsigned long long)boot,
                          (unsigned long long)at);
    for (int i = 0; i < DISKS; i++)
      if (disks[i].first)
        length += snprintf(line + length, sizeof line - length, "%d:%llu:%llu:%llu:%llu:%llu ", i,
                           (unsigned long long)disks[i].blocks,
                           (unsigned long long)disks[i].first,
                           (unsigned long long)disks[i].acknowledged,
                           (unsigned long long)disks[i].longest,
                           (unsigned long long)disks[i].errors);
    length += snprintf(line + length, sizeof line - length, "*%08x\n", crc32c(line, length));
    if (port >= 0 && write(port, line, length) < 0) perror("xenferry: ttyS1");
    if (at >= second) {
      second = at + SECOND_NS;
      reap();
      look_for_disks();
      printf("alive %llu.%03llu s", (unsigned long long)(at / SECOND_NS),
             (unsigned long long)(at / 1000000 % 1000));
      for (int i = 0; i < DISKS; i++)
        if (disks[i].first)
          printf(", vd%c record %llu, longest gap %llu ms", 'a' + i,
                 (unsigned long long)disks[i].acknowledged,
                 (unsigned long long)(disks[i].longest / 1000000));
      printf("\n");
    }
    next += HEARTBEAT_NS;
    if (next < now()) next = now();
    pause_until(next);
  }
}
