/*
 * The write-ordering point of one disk, for the model checker SPIN: a guest that writes, a copier, a mirror, two disks
 * with caches, and what may go wrong with them. docs/model.md says how to read and run it; every
 * `inline` below is one action, and has a line there that names the method that does it.
 *
 * The truth is in the disks alone: `sc` and `sd` are what the source reads as and what of it has
 * become durable, `dc` and `dd` the same of the destination. Everything else is the point's opinion.
 *
 * One process, one choice among all enabled actions at each step. Every action makes progress that
 * is never undone, or spends a bounded fault, so that no run is endless and each ends in `settled`.
 *
 * Bounds (all may be given with -D): BLOCKS, WRITES, what each write covers (W0, W1, W2, a bit for
 * each block), and how often a fault may happen.
 */
#ifndef BLOCKS
#define BLOCKS 1
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef W0
#define W0 1
#endif
#ifndef W1
#define W1 1
#endif
#ifndef W2
#define W2 1
#endif
#ifndef TARGET_CRASHES
#define TARGET_CRASHES 1
#endif
#ifndef BREAKS
#define BREAKS 1
#endif
#ifndef STALLS
#define STALLS 1
#endif
#ifndef SERVER_CRASHES
#define SERVER_CRASHES 0
#endif
#ifndef MIRRORS
#define MIRRORS 1           /* how often a mirror is brought up */
#endif

/* What is promised. All are false, for ever: the checker prints the expression of an assertion that fails. */
bit destination_equals_source_at_the_switch, nothing_changes_the_destination_afterwards;
bit the_log_names_every_difference, the_copy_comes_to_its_end;
#ifdef GOAL_MIRRORED
#define GOAL (closed && arrived[0])
#endif
#ifdef GOAL_STALLED
#define GOAL (closed && stalls < STALLS && breaks < BREAKS && crashes < TARGET_CRASHES)
#endif
#ifdef GOAL
bit the_goal_is_reached;    /* something that must be possible: asked for as if it were forbidden */
#endif
#define PROMISE(name, holds) if :: !(holds) -> assert(name) :: else fi

#define ALL ((1 << BLOCKS) - 1)
#define OLD 9               /* what the source holds in the beginning */

/* A guest's write. */
#define NEW 0
#define WAITING 1           /* for an earlier one to the same bytes */
#define MARKING 2           /* the durable log is being written */
#define ISSUED 3
#define ANSWERED 4

/* A write on its way to the destination's disk. */
#define NOWHERE 0
#define SENT 1
#define APPLIED 2           /* in the target's cache, its answer under way */
#define STALE 3             /* of a connection that is lost: may still take effect until fenced */
#define REPLAY 4            /* only in the broken variant: kept to be sent once more */

byte sc[BLOCKS] = OLD, sd[BLOCKS] = OLD, dc[BLOCKS], dd[BLOCKS];

byte covers[WRITES];        /* constant */
byte st[WRITES];
byte to[WRITES];            /* its way to the destination */
bit mirrored[WRITES];
bit inSource[WRITES];       /* the source's disk has it */
bit done[WRITES];           /* and the point knows */
bit arrived[WRITES];        /* the destination has it, and the point knows */

/* The books, a bit for each block. The log is durable, the others are memory. */
byte log = ALL, dirty = ALL, written, flushing;

bit attached = 1, mirroring;
byte flushed;               /* 0 no flush, 1 issued, +2 source's done, +4 destination's done */

/* The copier: 0 idle, 1 locked, 2 read, 3 sent, 4 in the target's cache. */
byte copier, copied, content;
byte staleBlock, staleContent, stale; /* its write of a lost connection */

byte mirrorsLeft = MIRRORS, crashes = TARGET_CRASHES, breaks = BREAKS, stalls = STALLS,
     restarts = SERVER_CRASHES;
bit closed;                 /* the books agree and the guest stands still: the switch */
byte b, w;                  /* for loops; 0 between actions, so that they cost no states */

#define BIT(x) (1 << (x))
#define HAS(set, x) (((set) >> (x)) & 1)
/* Under way, as far as the point keeps it: it is not answered, or the destination still has it. */
#ifdef RESENDS_UNDER_STALLED_WRITE
#define UNDER_WAY(x) (st[x] > NEW && st[x] < ANSWERED)
#else
#define UNDER_WAY(x) ((st[x] > NEW && st[x] < ANSWERED) || to[x] == SENT || to[x] == APPLIED)
#endif
#define GUEST_HOLDS(x, block) (UNDER_WAY(x) && mirrored[x] && HAS(covers[x], block))


#if WRITES == 1
#define ANY_BARS(block) GUEST_HOLDS(0, block)
#define BEFORE(x) 0
#define STALLED_BENEATH(x) 0
#define GUEST_STILL (st[0] == NEW || st[0] == ANSWERED)
#define NOTHING_UNDER_WAY (!UNDER_WAY(0) && copier == 0)
#define UNDER_WAY_BLOCKS (UNDER_WAY(0) * covers[0])
#elif WRITES == 2
#define ANY_BARS(block) (GUEST_HOLDS(0, block) || GUEST_HOLDS(1, block))
#define GUEST_STILL ((st[0] == NEW || st[0] == ANSWERED) && (st[1] == NEW || st[1] == ANSWERED))
#define NOTHING_UNDER_WAY (!UNDER_WAY(0) && !UNDER_WAY(1) && copier == 0)
#define UNDER_WAY_BLOCKS ((UNDER_WAY(0) * covers[0]) | (UNDER_WAY(1) * covers[1]))
#else
#define ANY_BARS(block) (GUEST_HOLDS(0, block) || GUEST_HOLDS(1, block) || GUEST_HOLDS(2, block))
#define GUEST_STILL ((st[0] == NEW || st[0] == ANSWERED) && (st[1] == NEW || st[1] == ANSWERED) \
  && (st[2] == NEW || st[2] == ANSWERED))
#define NOTHING_UNDER_WAY (!UNDER_WAY(0) && !UNDER_WAY(1) && !UNDER_WAY(2) && copier == 0)
#define UNDER_WAY_BLOCKS ((UNDER_WAY(0) * covers[0]) | (UNDER_WAY(1) * covers[1]) \
  | (UNDER_WAY(2) * covers[2]))
#endif
#define COPIER_BLOCKS ((copier != 0) * BIT(copied))

/* An earlier one, unanswered, to the same bytes. */
#define BLOCKED_BY(x, y) ((y) < (x) && st[y] > NEW && st[y] < ANSWERED && (covers[y] & covers[x]))
#if WRITES == 1
#define BLOCKED(x) 0
#elif WRITES == 2
#define BLOCKED(x) BLOCKED_BY(x, 0)
#else
#define BLOCKED(x) (BLOCKED_BY(x, 0) || BLOCKED_BY(x, 1))
#endif

/* They are begun in the order of their numbers. */
#define AFTER_THE_LAST(x) (x == 0 || st[x - (x > 0)] != NEW)

/* An answered write that the destination still has under way bars a mirrored one. */
#define STALLS_BENEATH(x, y) ((y) != (x) && st[y] == ANSWERED && (to[y] == SENT || to[y] == APPLIED) \
  && (covers[y] & covers[x]))
#if WRITES == 2
#define STALLED_BENEATH(x) (STALLS_BENEATH(x, 0) || STALLS_BENEATH(x, 1))
#elif WRITES > 2
#define STALLED_BENEATH(x) (STALLS_BENEATH(x, 0) || STALLS_BENEATH(x, 1) || STALLS_BENEATH(x, 2))
#endif

#ifdef COPIER_WITHOUT_LOCK
#define LOCKED_BENEATH(x) 0
#else
#define LOCKED_BENEATH(x) (copier != 0 && HAS(covers[x], copied))
#endif

#define MAY_MIRROR(x) (mirroring && attached && (covers[x] & ~dirty & ALL) && !STALLED_BENEATH(x) \
  && !LOCKED_BENEATH(x))

inline put_source(x) {
  b = 0;
  do
  :: b < BLOCKS -> if :: HAS(covers[x], b) -> sc[b] = x + 1 :: else fi; b++
  :: else -> b = 0; break
  od
}

inline put_target(x) {
  b = 0;
  do
  :: b < BLOCKS -> if :: HAS(covers[x], b) -> dc[b] = x + 1 :: else fi; b++
  :: else -> b = 0; break
  od
}

inline answer(x) {
  st[x] = ANSWERED
}

/* ---- the guest's writes */

/* It waits, or is marked; which disks it goes to is decided now. */
inline begin(x) {
  mirrored[x] = MAY_MIRROR(x);
#ifndef BIT_SET_ONLY_AFTER
  if :: !mirrored[x] -> dirty = dirty | covers[x] :: else fi;
#endif
  st[x] = MARKING;
#ifdef BIT_SET_ONLY_AFTER
  issue(x);
#endif
}

inline guest_writes(x) {
  printf("guest writes %d\n", x);
  if
  :: BLOCKED(x) -> st[x] = WAITING
  :: else -> begin(x)
  fi
}

inline next_begins(x) {
  printf("next begins %d\n", x);
  begin(x)
}

inline issue(x) {
  st[x] = ISSUED;
  if
  :: mirrored[x] && !attached -> mirrored[x] = 0; dirty = dirty | covers[x]
  :: mirrored[x] && attached -> to[x] = SENT
  :: else
  fi
}

/* The marks are durable; only then is it issued. */
inline marked(x) {
  printf("marked %d\n", x);
#ifndef NOT_LOGGED
  log = log | covers[x];
#endif
  issue(x)
}

/* The source's disk takes it. */
inline source_takes(x) {
  printf("source takes %d\n", x);
  put_source(x);
  inSource[x] = 1
}

inline source_done(x) {
  printf("source done %d\n", x);
  done[x] = 1;
#ifdef BIT_SET_ONLY_AFTER
  log = log | covers[x];
#endif
#ifndef BIT_SET_ONLY_BEFORE
  if :: !mirrored[x] -> dirty = dirty | covers[x] :: else fi;
#endif
  if :: mirrored[x] && arrived[x] -> written = written | covers[x] :: else fi;
  if :: !mirrored[x] || to[x] == NOWHERE -> answer(x) :: else fi
}

/* The target's cache takes a mirrored write. */
inline target_takes(x) {
  printf("target takes %d\n", x);
  put_target(x);
  to[x] = (to[x] == SENT -> APPLIED : NOWHERE)
}

inline destination_done(x) {
  printf("destination done %d\n", x);
  to[x] = NOWHERE;
  arrived[x] = 1;
  if
  :: st[x] == ANSWERED ->
#ifndef RESENDS_UNDER_STALLED_WRITE
    dirty = dirty | covers[x];
#endif
    mirrored[x] = 0
  :: else -> if :: done[x] -> written = written | covers[x]; answer(x) :: else fi
  fi
}

/* The target stalls, and the guest must not: answered from the source, the range dirty. */
inline mirror_overdue(x) {
  printf("mirror overdue %d\n", x);
  stalls--;
  dirty = dirty | covers[x];
  mirroring = 0;
  answer(x)
}

inline mirror_up() {
  printf("mirror up\n");
  mirrorsLeft--;
  mirroring = 1
}

/* ---- the copier */

inline lock_next(block) {
  printf("lock next %d\n", block);
  copier = 1;
  copied = block;
#ifndef BIT_CLEARED_AFTER_READ
  dirty = dirty & ~BIT(block)
#endif
}

inline read_block() {
  printf("read block\n");
  content = sc[copied];
  copier = 2
}

inline send_block() {
  printf("send block\n");
#ifdef BIT_CLEARED_AFTER_READ
  dirty = dirty & ~BIT(copied);
#endif
  copier = 3
}

inline target_takes_block() {
  printf("target takes block\n");
  dc[copied] = content;
  copier = 4
}

inline unlock() {
  printf("unlock\n");
  written = written | BIT(copied);
  copier = 0;
  copied = 0;
  content = 0
}

/* ---- flushes of both disks */

inline flush_issued() {
  printf("flush issued\n");
  flushing = flushing | written;
  written = 0;
  flushed = 1
}

inline source_flushes() {
  printf("source flushes\n");
  b = 0;
  do :: b < BLOCKS -> sd[b] = sc[b]; b++ :: else -> b = 0; break od;
  flushed = flushed | 2
}

inline target_flushes() {
  printf("target flushes\n");
  b = 0;
  do :: b < BLOCKS -> dd[b] = dc[b]; b++ :: else -> b = 0; break od;
  flushed = flushed | 4
}

/* What the flush covered, and nothing has touched since, leaves the log. */
inline flush_done() {
  printf("flush done\n");
#ifdef DROPPED_FROM_LOG_AT_ANY_FLUSH
  log = log & dirty;
  written = 0;
#else
  log = log & ~(flushing & ~dirty & ~written & ~(UNDER_WAY_BLOCKS) & ~(COPIER_BLOCKS));
#endif
  flushing = 0;
  flushed = 0
}

/* ---- losses */

#define LOST_BY(x) (mirrored[x] && (to[x] == SENT || to[x] == APPLIED || (arrived[x] && st[x] == ISSUED)))

/* What was in flight, and all since the last flush of both, is dirty again; nothing is replayed. */
inline lose() {
  attached = 0;
  dirty = dirty | flushing | written;
  flushing = 0;
  written = 0;
  flushed = 0;
  mirroring = 0;
  w = 0;
  do
  :: w < WRITES ->
    if
    :: LOST_BY(w) ->
#ifdef REPLAYED_AFTER_BROKEN_CONNECTION
      if
      :: to[w] == SENT -> to[w] = REPLAY
      :: else -> to[w] = NOWHERE; dirty = dirty | covers[w]
      fi;
#else
      to[w] = (to[w] == SENT -> STALE : NOWHERE);
      dirty = dirty | covers[w];
#endif
      arrived[w] = 0;
      mirrored[w] = 0;
      if :: done[w] -> st[w] = ANSWERED :: else fi
    :: else
    fi;
    w++
  :: else -> w = 0; break
  od;
  if
  :: copier != 0 ->
    dirty = dirty | BIT(copied);
    if :: copier == 3 -> stale = 1; staleBlock = copied; staleContent = content :: else fi;
    copier = 0; copied = 0; content = 0
  :: else
  fi
}

inline connection_breaks() {
  printf("connection breaks\n");
  breaks--;
  lose()
}

/* Each block of its cache was written back, or is lost; nothing that was on its way arrives. */
inline target_crashes() {
  printf("target crashes\n");
  crashes--;
  b = 0;
  do
  :: b < BLOCKS -> if :: dd[b] = dc[b] :: dc[b] = dd[b] fi; b++
  :: else -> b = 0; break
  od;
  if :: attached -> lose() :: else fi;
  w = 0;
  do
  :: w < WRITES -> if :: to[w] == STALE -> to[w] = NOWHERE :: else fi; w++
  :: else -> w = 0; break
  od;
  stale = 0; staleBlock = 0; staleContent = 0
}

inline stale_block_takes_effect() {
  printf("stale block takes effect\n");
  dc[staleBlock] = staleContent;
  stale = 0; staleBlock = 0; staleContent = 0
}

/* A new generation, after the old one is fenced: nothing of it takes effect any more. */
inline fence_and_attach() {
  printf("fence and attach\n");
#ifndef NOT_FENCED
  w = 0;
  do
  :: w < WRITES -> if :: to[w] == STALE -> to[w] = NOWHERE :: else fi; w++
  :: else -> w = 0; break
  od;
  stale = 0; staleBlock = 0; staleContent = 0;
#endif
#ifdef REPLAYED_AFTER_BROKEN_CONNECTION
  w = 0;
  do
  :: w < WRITES -> if :: to[w] == REPLAY -> to[w] = STALE :: else fi; w++
  :: else -> w = 0; break
  od;
#endif
  attached = 1
}

/*
 * The source's server dies and takes the log up again; with it perhaps the host's power, by which
 * the source loses what was not flushed. Unanswered writes come about or do not.
 */
inline server_dies() {
  printf("server dies\n");
  restarts--;
  if :: attached -> lose() :: else fi;
  w = 0;
  do
  :: w < WRITES ->
    if
    :: st[w] == ISSUED && !inSource[w] -> put_source(w)
    :: skip
    fi;
    if :: st[w] > NEW -> st[w] = ANSWERED; inSource[w] = 1; done[w] = 1; mirrored[w] = 0; arrived[w] = 0 :: else fi;
    w++
  :: else -> w = 0; break
  od;
  if
  :: b = 0; do :: b < BLOCKS -> sc[b] = sd[b]; b++ :: else -> b = 0; break od
  :: skip
  fi;
  dirty = log
}

#ifdef NEVER_CONNECTED_AGAIN
#define MAY_ATTACH 0
#else
#define MAY_ATTACH (!attached)
#endif

/* ---- the end: what the switch goes by */

#define BOOKS_AGREE (!closed && attached && GUEST_STILL && dirty == 0 && written == 0 && flushing == 0 \
  && log == 0 && NOTHING_UNDER_WAY)

inline books_agree() {
  printf("books agree\n");
  b = 0;
  do
  :: b < BLOCKS ->
    PROMISE(destination_equals_source_at_the_switch, dd[b] == sc[b]);
    b++
  :: else -> b = 0; break
  od;
  closed = 1
}

#define GUEST_ACTIONS(x) \
  :: d_step { st[x] == NEW && !closed && AFTER_THE_LAST(x) -> guest_writes(x) } \
  :: d_step { st[x] == WAITING && !BLOCKED(x) -> next_begins(x) } \
  :: d_step { st[x] == MARKING -> marked(x) } \
  :: d_step { st[x] == ISSUED && !inSource[x] -> source_takes(x) } \
  :: d_step { st[x] == ISSUED && inSource[x] && !done[x] -> source_done(x) } \
  :: d_step { to[x] == SENT || to[x] == STALE -> target_takes(x) } \
  :: d_step { to[x] == APPLIED -> destination_done(x) } \
  :: d_step { stalls > 0 && st[x] == ISSUED && mirrored[x] && done[x] && (to[x] == SENT || to[x] == APPLIED) \
      -> mirror_overdue(x) }

/* What the durable log does not name is the same on both disks, and durable there, until the switch. */
#define DIFFERS_UNMARKED(x) (!HAS(log, x) && (sc[x] != dc[x] || sd[x] != sc[x] || dd[x] != dc[x]))
#if BLOCKS == 1
#define LOG_IS_WRONG DIFFERS_UNMARKED(0)
#else
#define LOG_IS_WRONG (DIFFERS_UNMARKED(0) || DIFFERS_UNMARKED(1))
#endif

init {
  d_step {
    covers[0] = W0;
#if WRITES > 1
    covers[1] = W1;
#endif
#if WRITES > 2
    covers[2] = W2;
#endif
  }
  do
  GUEST_ACTIONS(0)
#if WRITES > 1
  GUEST_ACTIONS(1)
#endif
#if WRITES > 2
  GUEST_ACTIONS(2)
#endif
  :: d_step { mirrorsLeft > 0 && attached && !mirroring && !closed -> mirror_up() }
  :: d_step { copier == 0 && attached && HAS(dirty, 0) && !ANY_BARS(0) -> lock_next(0) }
#if BLOCKS > 1
  :: d_step { copier == 0 && attached && HAS(dirty, 1) && !ANY_BARS(1) -> lock_next(1) }
#endif
  :: d_step { copier == 1 -> read_block() }
  :: d_step { copier == 2 && attached -> send_block() }
  :: d_step { copier == 3 -> target_takes_block() }
  :: d_step { copier == 4 -> unlock() }
  :: d_step { flushed == 0 && attached && written != 0 -> flush_issued() }
  :: d_step { flushed & 1 && !(flushed & 2) -> source_flushes() }
  :: d_step { flushed & 1 && !(flushed & 4) -> target_flushes() }
  :: d_step { flushed == 7 -> flush_done() }
  :: d_step { breaks > 0 && attached && !closed -> connection_breaks() }
  :: atomic { crashes > 0 && !closed -> target_crashes() }
  :: d_step { stale -> stale_block_takes_effect() }
  :: d_step { MAY_ATTACH -> fence_and_attach() }
  :: atomic { restarts > 0 && !closed -> server_dies() }
  :: d_step { BOOKS_AGREE -> books_agree() }
#ifdef GOAL
  :: GOAL -> assert(the_goal_is_reached); break
#endif
  :: LOG_IS_WRONG && !closed -> assert(the_log_names_every_difference); break
  :: else -> break
  od;
  PROMISE(the_copy_comes_to_its_end, closed);
  b = 0;
  do
  :: b < BLOCKS -> PROMISE(nothing_changes_the_destination_afterwards, dc[b] == sc[b]); b++
  :: else -> break
  od
}
