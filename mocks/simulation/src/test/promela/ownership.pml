/*
 * Who owns the VM: the protocol between two hosts, for the model checker SPIN. docs/model.md says
 * how to read and run it; every `inline` in the sections "source", "destination", "hypervisor",
 * "clients and operators" and "faults" is one action, and has a line there that names the method
 * that does it.
 *
 * The truth is in the guests and disks alone, see "the world". What the hosts' ledgers say is the
 * protocol's opinion, and no promise is about that.
 *
 * Messages. A request that was ever sent may arrive at any time later, and any number of times; that is
 * a bit that is set and stays. So one that is lost is one that arrives only when it means nothing
 * any more, and repeating it is nothing new. An answer waits at who asked until it is heard, however old it is
 * by then, unless that server dies first: an answer goes to the process that asked, and to no other.
 *
 * Crashes. What is durable is written in one step before the effect that it allows, so that a crash
 * comes before or after it. A server that dies is taken up at once: one that stays away just does
 * nothing for a while, which every other order of the actions covers. A host without power is not.
 *
 * One process, one choice among all enabled actions at each step. Each action makes progress that is
 * never undone, or spends a bounded fault: no run is endless, and each ends in `settled`.
 *
 * Bounds, with -D: MOVES (1, or 2 after each other), BACK (the second goes the other way), CRASHES
 * of servers, OUTAGES (of a host's power), DEATHS (of a guest's process), TARGETS (deaths of the
 * export's server), HICCUPS (the hypervisor fails and lets the guest go on by itself), REFUSALS (of
 * the destination's hypervisor to run the guest), LEDGERS (of the destination that are lost or put
 * back), FORCES (an operator's word, of a host that truly is without power, which may come back),
 * HALTED (the VM does not run while it moves).
 */
#ifndef MOVES
#define MOVES 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef OUTAGES
#define OUTAGES 0
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef TARGETS
#define TARGETS 0
#endif
#ifndef HICCUPS
#define HICCUPS 0
#endif
#ifndef REFUSALS
#define REFUSALS 0
#endif
#ifndef LEDGERS
#define LEDGERS 0
#endif
#ifndef FORCES
#define FORCES 0
#endif
#ifdef HALTED
#define HALTS 1
#else
#define HALTS 0
#endif

/* Promises, named. All are false, for ever: the checker prints the expression of a failing assertion. */
bit at_most_one_side_runs_the_guest, a_guest_never_goes_back_in_time;
bit the_disks_are_complete_where_the_guest_runs, one_writer_to_a_disk;
bit a_complete_copy_exists, the_memory_exists, a_running_guest_is_not_destroyed;
bit destination_equals_source_at_the_commit, everything_ends_and_nothing_is_left;
#ifdef GOAL_MOVED
#define GOAL (s[0] == GIVEN && sEnded[0] && dEnded[0] && guest[1] == RUNS)
#endif
#ifdef GOAL_RETURNED
#define GOAL (d[0] == RETURNED && sEnded[0] && dEnded[0] && guest[0] == RUNS)
#endif
#ifdef GOAL_ABORTED_WHEN_READY
#define GOAL (d[0] == ABORTED && sEnded[0] && sealing[0] && guest[0] == RUNS)
#endif
#ifdef GOAL_MOVED_TWICE
#define GOAL (s[MOVES - 1] == GIVEN && sEnded[MOVES - 1] && dEnded[MOVES - 1] && guest[DST(MOVES - 1)] == RUNS)
#endif
#ifdef GOAL_MOVED_BY_THE_NEXT_SERVERS
bit sWentOn, dWentOn;
#define GOAL (s[0] == GIVEN && sEnded[0] && dEnded[0] && guest[1] == RUNS && sWentOn && dWentOn)
#endif
#ifdef GOAL_FORCED_BACK
#define GOAL (sForced[0] && dForced[0] && d[0] == RETURNED && guest[0] == RUNS)
#endif
#ifdef GOAL_LEDGER_NOT_BELIEVED
#define GOAL (incarnation[1] && !restored[1] && s[0] == COMMITTING && d[0] == ABORTED)
#endif
#ifdef GOAL_ARRIVED_BEFORE_THE_COPY_WAS_PUT_BACK
#define GOAL (incarnation[1] && !restored[1] && s[0] == GIVEN && sCleaned[0] && d[0] == RUNNING && dHeard[0] && AT(1))
#endif
#ifdef GOAL_FORCED_ANEW
#define GOAL (sForced[0] && dForced[0] && forces == 0 && guest[1] == RUNS && off[0])
#endif
#ifdef GOAL
bit the_goal_is_reached;    /* something that must be possible: asked for as if it were forbidden */
#endif
#define PROMISE(name, holds) if :: !(holds) -> assert(name) :: else fi

/* Where migration m goes from and to; where its disk is, a place of the source and a new one. */
#ifdef BACK
#define SRC(m) (m)
#define HOME(m) (m)
#else
#define SRC(m) 0
#define HOME(m) 0
#endif
#define DST(m) (1 - SRC(m))
#define PLACE(m) ((m) + 1)

/* ---- the world: guests, disks, exports, and what is true of them */

/* The guest's process on a host. */
#define GONE 0
#define INCOMING 1          /* waits for the memory */
#define RECEIVED 2          /* has it; its disks are not open */
#define ACTIVE 3            /* complete, paused, its disks open */
#define RUNS 4
#define PAUSED 5            /* by the hypervisor, for the switch */
#define FINISHING 6         /* the rest of the memory is on its way */
#define SENT 7              /* the hypervisor's migration has ended: it cannot resume by itself */

/* A disk's content. */
#define NONE 0
#define PARTIAL 1
#define WHOLE 2             /* all that the guest has written */

byte guest[2];
byte uses[2];               /* the place of its disk */
bit newest[2];              /* its memory is the guest's newest */
bit excused = HALTS;        /* a process died, so that the VM may be halted; until it is started */
byte disk[MOVES + 1];
bit export[MOVES];          /* of the destination's disk; whoever is logged in may write */
bit copying[MOVES];         /* the source's copy is logged in */
byte record[2];             /* the VM as clients see it: 1 + the place of its disk, or 0 */
bit off[2];                 /* without power */

/* ---- the ledgers: durable */

#define UNKNOWN 0
#define SENDING 1
#define SWITCHING 2
#define COMMITTING 3
#define GIVEN 4
#define OWNED 5

#define RECEIVING 1
#define READY 2
#define COMMITTED 3
#define STARTING 4
#define RUNNING 5
#define ABORTED 6
#define RETURNED 7

byte s[MOVES];
bit sSettled[MOVES], sCleaned[MOVES], sEnded[MOVES], sForced[MOVES];
bit sHeard[MOVES];          /* the peer was heard in this boot of the host */

byte d[MOVES];
bit dSettled[MOVES], dCleaned[MOVES], dEnded[MOVES], dForced[MOVES], dHeard[MOVES];
bit doubt[MOVES];           /* the ledger was put back, and nobody was heard since */
bit open[MOVES];            /* the journal: the export may exist */
bit made[MOVES];            /* the journal: disk and process may exist */

bit incarnation[2];         /* of the ledger */
bit restored[2];            /* and not accepted yet */

/* ---- the servers' memory */

bit sAlive[MOVES];          /* it began in this life of the server */
bit opened[MOVES], drained[MOVES], handled[MOVES];
bit dAlive[MOVES], sealing[MOVES], sealed[MOVES];
bit asks[MOVES];            /* taken up: the source must consent before the guest runs */
bit refused[MOVES];         /* the run was refused, and the process destroyed before it ran */

/* ---- messages */

bit mOpen[MOVES], mClose[MOVES], mCommit[MOVES], mAbort[MOVES], mAcknowledge[MOVES];
/* Answers on their way to the source. */
bit aOpened[MOVES], aReady[MOVES], aRunning[MOVES], aBack[MOVES], aGone[MOVES];
/* The source's answer to the destination. */
byte told[MOVES];
#define NOTHING 0
#define WANTED 1            /* COMMITTING */
#define TAKEN_BACK 2
#define FORCED_BACK 3
#define OTHERWISE 4         /* SENDING or SWITCHING */
#define HANDED_OVER 5       /* GIVEN */

byte crashes = CRASHES, outages = OUTAGES, deaths = DEATHS, targets = TARGETS, hiccups = HICCUPS,
     refusals = REFUSALS, ledgers = LEDGERS, forces = FORCES;
bit takes[MOVES];           /* an operator's word for the destination has not shown its effect yet */
bit operated;               /* an operator's word has replaced a peer's, or a ledger was replaced */
byte i;                     /* for loops; 0 between actions, so that it costs no states */

/* ---- what is checked */

#define OPENED_BY(h) (guest[h] >= ACTIVE)
#define EXPORTED(place) ((place) > 0 && export[(place) - ((place) > 0)])

/* A domain has its disk open only while nothing is exported of it. */
#define TWO_WRITERS(h) (OPENED_BY(h) && EXPORTED(uses[h]))

/* The guest runs, whoever let it. */
inline let_run(h) {
  PROMISE(at_most_one_side_runs_the_guest, guest[1 - h] != RUNS);
  PROMISE(a_guest_never_goes_back_in_time, newest[h]);
  PROMISE(the_disks_are_complete_where_the_guest_runs, disk[uses[h]] == WHOLE);
  guest[h] = RUNS;
  newest[1 - h] = 0;
  excused = 0;
  i = 0;
  do
  :: i <= MOVES -> if :: i != uses[h] && disk[i] == WHOLE -> disk[i] = PARTIAL :: else fi; i++
  :: else -> break
  od;
  i = 0
}

/*
 * What was ready at the destination is the VM from now on, even where the source went on since; and
 * unless an operator has given the VM back to the source meanwhile.
 */
inline taken_by_force(m) {
  if
  :: takes[m] ->
    takes[m] = 0;
    disk[PLACE(m)] = WHOLE; disk[HOME(m)] = (disk[HOME(m)] == WHOLE -> PARTIAL : disk[HOME(m)]);
    newest[DST(m)] = (guest[DST(m)] != GONE); newest[SRC(m)] = 0;
    excused = (guest[DST(m)] == GONE)
  :: else
  fi
}

/* A process is ended by the protocol. */
inline destroy(h) {
  PROMISE(a_running_guest_is_not_destroyed, guest[h] != RUNS);
  guest[h] = GONE; uses[h] = 0; newest[h] = 0;
  PROMISE(the_memory_exists, excused || newest[0] || newest[1])
}

/* A process ends by a fault, which may be the end of the guest: whichever copy of it that was. */
inline perish(h) {
  excused = excused || newest[h];
  guest[h] = GONE; uses[h] = 0; newest[h] = 0
}

inline delete(place) {
  disk[place] = NONE;
  i = 0;
  do
  :: i <= MOVES && disk[i] != WHOLE -> i++
  :: else -> break
  od;
  PROMISE(a_complete_copy_exists, i <= MOVES);
  i = 0
}

/* ---- rows */

#define S_UNENDED(m) (s[m] != UNKNOWN && !sEnded[m])
#define D_UNENDED(m) (d[m] != UNKNOWN && !dEnded[m])
#define UNENDED_AT(m, h) ((SRC(m) == h && S_UNENDED(m)) || (DST(m) == h && D_UNENDED(m)))
#if MOVES == 1
#define ROW_AT(h) UNENDED_AT(0, h)
#else
#define ROW_AT(h) (UNENDED_AT(0, h) || UNENDED_AT(1, h))
#endif
#ifdef SECOND_BESIDE_AN_UNENDED_ROW
#define FREE(h) 1
#else
#define FREE(h) (!ROW_AT(h))
#endif
#define OF_THIS_INCARNATION(m) (incarnation[DST(m)] == 0)  /* tokens are of the first */
#ifdef INCARNATION_UNCHECKED
#define COUNTS(m) 1
#else
#define COUNTS(m) OF_THIS_INCARNATION(m)
#endif
#define WORKS(h) (!off[h] && !restored[h])

/* The gate: whether a client may start the VM there. An operator's word is for one boot of the host. */
#ifdef FORCE_BELIEVED_FOR_EVER
#define S_SURE(m) (sHeard[m] || sForced[m])
#define D_SURE(m) (dHeard[m] || dForced[m])
#else
#define S_SURE(m) (sHeard[m])
#define D_SURE(m) (dHeard[m])
#endif
#define S_ALLOWS(m, h) (SRC(m) != h || !S_UNENDED(m) || (s[m] == OWNED && S_SURE(m)))
#define D_ALLOWS(m, h) (DST(m) != h || !D_UNENDED(m) || (d[m] == RUNNING && D_SURE(m)))
#if MOVES == 1
#define GATE(h) (S_ALLOWS(0, h) && D_ALLOWS(0, h))
#else
#define GATE(h) (S_ALLOWS(0, h) && D_ALLOWS(0, h) && S_ALLOWS(1, h) && D_ALLOWS(1, h))
#endif

inline s_forget(m) {
  opened[m] = 0; drained[m] = 0; handled[m] = 0; sAlive[m] = 0; copying[m] = 0;
  aOpened[m] = 0; aReady[m] = 0; aRunning[m] = 0; aBack[m] = 0; aGone[m] = 0
}

inline d_forget(m) {
  dAlive[m] = 0; sealing[m] = 0; sealed[m] = 0; refused[m] = 0; told[m] = NOTHING;
#ifdef EXPORT_CLOSED_BEFORE_RECORDED
  skip
#endif
}

/* A row ends when its outcome is known to both and nothing is left of it. */
inline s_end_if_done(m) {
  if
  :: sSettled[m] && sCleaned[m] ->
    sEnded[m] = 1; sSettled[m] = 0; sCleaned[m] = 0;
    s_forget(m); sHeard[m] = 0
  :: else
  fi
}

inline d_end_if_done(m) {
#ifdef OUTCOME_FORGOTTEN_BEFORE_ACKNOWLEDGED
  dSettled[m] = 1;
#endif
  if
  :: dSettled[m] && dCleaned[m] ->
    dEnded[m] = 1; dSettled[m] = 0; dCleaned[m] = 0; dHeard[m] = 0;
    d_forget(m); asks[m] = 0;
#ifdef NO_TOMBSTONE
    d[m] = UNKNOWN; dEnded[m] = 0
#endif
#ifdef OUTCOME_FORGOTTEN_BEFORE_ACKNOWLEDGED
    d[m] = ABORTED; dForced[m] = 0
#endif
  :: else
  fi
}

/* ---- the source */

inline s_begin(m) {
  printf("S%d: SENDING, open\n", m);
  s[m] = SENDING; sAlive[m] = 1; sHeard[m] = 1;
  mOpen[m] = 1
}

inline s_opened(m) {
  printf("S%d: opened, copies\n", m);
  opened[m] = 1; copying[m] = 1; aOpened[m] = 0; sHeard[m] = 1
}

/* A server that was started anew asks to open once more, and goes on; the fence is in the other model. */
inline s_go_on(m) {
  printf("S%d: goes on\n", m);
#ifdef GOAL_MOVED_BY_THE_NEXT_SERVERS
  sWentOn = 1;
#endif
  sAlive[m] = 1
}

inline s_switch(m) {
  printf("S%d: SWITCHING\n", m);
  s[m] = SWITCHING
}

/* The last blocks, and the fence is asked for; the rest of the memory goes beside it. */
inline s_drain(m) {
  printf("S%d: drained, close exports\n", m);
  drained[m] = 1;
  disk[PLACE(m)] = WHOLE;
  mClose[m] = 1;
  if :: guest[SRC(m)] == PAUSED -> guest[SRC(m)] = FINISHING :: else fi
}

inline s_committing(m) {
  printf("S%d: COMMITTING, commit\n", m);
  s[m] = COMMITTING;
  opened[m] = 0; drained[m] = 0; aReady[m] = 0;
  mCommit[m] = 1
}

/* Cancel, failure, deadline, or a server that was started anew: the VM stays. */
inline s_give_up(m) {
  printf("S%d: OWNED, abort\n", m);
  s[m] = OWNED;
  opened[m] = 0; drained[m] = 0; aOpened[m] = 0; aReady[m] = 0;
  mAbort[m] = 1
}

/* Also after the destination said that it could not run it. */
inline s_returned(m) {
  printf("S%d: the destination gave it back: OWNED\n", m);
  s[m] = OWNED; aBack[m] = 0;
  mAbort[m] = 1
}

/* The hypervisor's migration is ended first; then the guest goes on, if it is still there. */
inline s_resume(m) {
  printf("S%d: the guest goes on\n", m);
  handled[m] = 1; sCleaned[m] = 1; copying[m] = 0;
  if
  :: guest[SRC(m)] >= PAUSED -> let_run(SRC(m))
  :: else
  fi;
  s_end_if_done(m)
}

inline s_told(m) {
  printf("S%d: it is aborted there, acknowledge\n", m);
  aBack[m] = 0; sHeard[m] = 1;
  mAcknowledge[m] = 1
}

inline s_given(m) {
  printf("S%d: GIVEN, acknowledge\n", m);
  s[m] = GIVEN; aRunning[m] = 0; sHeard[m] = 1;
  sForced[m] = sForced[m] || dForced[m];
  mAcknowledge[m] = 1
}

inline s_destroy_guest(m) {
  printf("S%d: guest's process ended\n", m);
  copying[m] = 0; handled[m] = 1;
  destroy(SRC(m))
}

inline s_clean(m) {
  printf("S%d: record and disk removed\n", m);
  record[SRC(m)] = 0;
  delete(HOME(m));
  sCleaned[m] = 1;
  s_end_if_done(m)
}

inline s_settled(m) {
  printf("S%d: nothing is left there\n", m);
  aGone[m] = 0; sSettled[m] = 1;
  s_end_if_done(m)
}

/* ---- the destination */

inline d_open(m) {
  printf("D%d: RECEIVING\n", m);
  d[m] = RECEIVING; dAlive[m] = 1; dHeard[m] = 1
}

inline d_create(m) {
  printf("D%d: disk, export and process made\n", m);
  made[m] = 1; open[m] = 1;
  disk[PLACE(m)] = PARTIAL;
  export[m] = 1;
  if :: !HALTS -> guest[DST(m)] = INCOMING; uses[DST(m)] = PLACE(m); newest[DST(m)] = 0 :: else fi
}

/*
 * A server that was started anew goes on with what is OPEN; a process that was receiving memory has lost its
 * stream, and is ended.
 */
inline d_go_on(m) {
  printf("D%d: goes on receiving\n", m);
  dAlive[m] = 1;
#ifdef GOAL_MOVED_BY_THE_NEXT_SERVERS
  dWentOn = 1;
#endif
#ifdef GOES_ON_THOUGH_CLOSED
  open[m] = 1; export[m] = 1
#else
  if :: guest[DST(m)] != GONE -> destroy(DST(m)) :: else fi
#endif
}

/*
 * Asked for once more, by a source or a message that comes late. It may be given the rest of a memory whose
 * beginning another process had, which the product's cannot: more than is so, and all promises hold.
 */
inline d_start_guest(m) {
  printf("D%d: starts the process that receives\n", m);
  guest[DST(m)] = INCOMING; uses[DST(m)] = PLACE(m); newest[DST(m)] = 0
}

inline d_say_opened(m) {
  printf("D%d: says opened\n", m);
  aOpened[m] = 1
}

/* CLOSED is durable before anything is closed. */
inline d_close(m) {
  printf("D%d: CLOSED\n", m);
  sealing[m] = 1;
#ifdef EXPORT_CLOSED_BEFORE_RECORDED
  export[m] = 0
#else
  open[m] = 0
#endif
}

inline d_closed(m) {
  printf("D%d: export closed, disk flushed\n", m);
  sealed[m] = 1;
#ifdef EXPORT_CLOSED_BEFORE_RECORDED
  open[m] = 0
#else
  export[m] = 0
#endif
}

inline d_activate(m) {
  printf("D%d: the guest opens its disk\n", m);
  guest[DST(m)] = ACTIVE
}

inline d_ready(m) {
  printf("D%d: READY\n", m);
  d[m] = READY; d_forget(m)
}

inline d_say_ready(m) {
  printf("D%d: says READY\n", m);
  aReady[m] = 1
}

inline d_abort_self(m) {
  printf("D%d: ABORTED\n", m);
  d[m] = ABORTED; d_forget(m); asks[m] = 0
}

inline d_commit(m) {
  printf("D%d: COMMITTED\n", m);
  PROMISE(destination_equals_source_at_the_commit, operated || disk[PLACE(m)] == WHOLE);
  d[m] = COMMITTED; dHeard[m] = 1; told[m] = NOTHING;
#ifdef RETURNING_READY_OBEYS_AT_ONCE
  asks[m] = 0
#endif
}

inline d_consent(m) {
  printf("D%d: the source wants it still\n", m);
  asks[m] = 0; dHeard[m] = 1; told[m] = NOTHING
}

#define BACK_FROM(m) (d[m] == RECEIVING || d[m] == READY -> ABORTED : RETURNED)

inline d_yield(m) {
  printf("D%d: forced back: ended here\n", m);
  d[m] = BACK_FROM(m);
  dForced[m] = 1; doubt[m] = 0;
  d_forget(m); asks[m] = 0
}

/* A ledger that was put back: the guest, the record or the source says that the VM is here. */
inline d_arrived(m) {
  printf("D%d: the VM has arrived meanwhile: RUNNING\n", m);
  d[m] = RUNNING; doubt[m] = 0; dHeard[m] = 0; told[m] = NOTHING;
  d_forget(m); asks[m] = 0
}

/* The source says that it has the VM. */
inline d_undone(m) {
  printf("D%d: the VM is the source's: ended here\n", m);
  d[m] = BACK_FROM(m); doubt[m] = 0;
  d_forget(m); asks[m] = 0
}

/* A guest that waits still has never run, so that the row may be believed. */
inline d_believed(m) {
  printf("D%d: the guest waits, as the ledger says\n", m);
  doubt[m] = 0; dHeard[m] = 1
}

inline d_return(m) {
  printf("D%d: RETURNED\n", m);
  d[m] = RETURNED; d_forget(m); asks[m] = 0
}

inline d_starting(m) {
  printf("D%d: STARTING\n", m);
  d[m] = STARTING
}

inline d_run(m) {
  printf("D%d: runs the guest\n", m);
  taken_by_force(m);
  let_run(DST(m))
}

/* The hypervisor refuses, provably without effect; the process is ended before it ran. */
inline d_refused(m) {
  printf("D%d: the run is refused, the process ended\n", m);
  refusals--;
  refused[m] = 1;
  perish(DST(m))
}

inline d_running(m) {
  printf("D%d: RUNNING\n", m);
  if :: guest[DST(m)] == GONE -> taken_by_force(m) :: else fi;
  d[m] = RUNNING; d_forget(m); asks[m] = 0
}

inline d_heard(m) {
  printf("D%d: not forced back\n", m);
  dHeard[m] = 1; told[m] = NOTHING
}

/* The hidden record is of the migration that came last, also where a replaced ledger has forgotten that. */
#if MOVES == 1
#define BROUGHT(m) PLACE(m)
#else
#define BROUGHT(m) (DST(1) == DST(m) && disk[PLACE(1)] != NONE -> PLACE(1) : PLACE(m))
#endif

/* From here on clients may start it, if it does not run and the gate lets them. */
inline d_show(m) {
  printf("D%d: the VM is shown\n", m);
  open[m] = 0; export[m] = 0;
  record[DST(m)] = 1 + BROUGHT(m)
}

inline d_cleaned(m) {
  printf("D%d: nothing is left to be done here\n", m);
  open[m] = 0; export[m] = 0; made[m] = 0;
  dCleaned[m] = 1;
  d_end_if_done(m)
}

inline d_say_running(m) {
  printf("D%d: says RUNNING\n", m);
  aRunning[m] = 1
}

inline d_say_back(m) {
  printf("D%d: says ABORTED or RETURNED\n", m);
  aBack[m] = 1
}

inline d_abort(m) {
  printf("D%d: abort\n", m);
  if
  :: d[m] == UNKNOWN ->
#ifdef NO_TOMBSTONE
    skip
#else
    d[m] = ABORTED; dEnded[m] = 1
#endif
  :: else -> d[m] = ABORTED; d_forget(m); asks[m] = 0
  fi
}

inline d_acknowledged(m) {
  printf("D%d: acknowledged\n", m);
  dSettled[m] = 1;
  d_end_if_done(m)
}

inline d_say_gone(m) {
  printf("D%d: says gone\n", m);
  aGone[m] = 1
}

/* Its own process is one that has not run; with a VM that is shown here it has nothing to do. */
#define WAITS(m) (guest[DST(m)] >= INCOMING && guest[DST(m)] <= ACTIVE)
#ifdef ACCEPTED_BLINDLY
#define TO_BE_ENDED(m) (guest[DST(m)] != GONE)
#define MAY_BE_UNDONE(m) 1
#else
#define TO_BE_ENDED(m) (WAITS(m) && record[DST(m)] == 0)
#define MAY_BE_UNDONE(m) (guest[DST(m)] == GONE || WAITS(m) || record[DST(m)] != 0)
#endif

/* What the journal names: the process first, then the export; the disk last. */
inline d_undo_guest(m) {
  printf("D%d: process and export removed\n", m);
  open[m] = 0; sealing[m] = 1;
  if :: made[m] && TO_BE_ENDED(m) -> destroy(DST(m)) :: else fi;
  export[m] = 0
}

inline d_undo_disk(m) {
  printf("D%d: disk removed\n", m);
  sealing[m] = 0;
  /* Only what is tagged as the migration's: what is shown is the VM's own. */
  if :: made[m] && record[DST(m)] != 1 + PLACE(m) -> delete(PLACE(m)) :: else fi;
  made[m] = 0;
  dCleaned[m] = 1;
  d_end_if_done(m)
}

/* The watchdog, and what start-up does: OPEN exports are made anew, others are removed. */
inline d_watchdog(m) {
  printf("D%d: watchdog makes the export anew\n", m);
  export[m] = 1
}

inline d_start_up_sweep(m) {
  printf("D%d: an export that is not OPEN is removed\n", m);
  export[m] = 0
}

/* ---- the source answers the destination */

#define ANSWER(m) (s[m] == COMMITTING -> WANTED : (s[m] == GIVEN -> HANDED_OVER : (s[m] == OWNED -> (sForced[m] -> FORCED_BACK : TAKEN_BACK) : OTHERWISE)))
#define ASKING(m) (doubt[m] || d[m] == READY || ((d[m] == COMMITTED || d[m] == STARTING) && asks[m]) || (d[m] == RUNNING && !dEnded[m] && !D_SURE(m)))

inline s_say_status(m) {
  printf("S%d: says how it stands\n", m);
  told[m] = ANSWER(m)
}

/* ---- the hypervisors */

inline h_pause(m) {
  printf("H%d: pauses the guest for the switch\n", m);
  guest[SRC(m)] = PAUSED
}

inline h_sent(m) {
  printf("H%d: the memory is sent\n", m);
  guest[SRC(m)] = SENT
}

inline h_received(m) {
  printf("H%d: the memory is received\n", m);
  guest[DST(m)] = RECEIVED;
  newest[DST(m)] = newest[SRC(m)]
}

/* Its own migration fails, and it lets the guest go on by itself. */
inline h_resumes(m) {
  printf("H%d: fails, and the guest goes on by itself\n", m);
  hiccups--;
  let_run(SRC(m))
}

/* ---- clients and operators */

inline c_start(h) {
  printf("C%d: a client starts the VM\n", h);
  PROMISE(at_most_one_side_runs_the_guest, excused);
  uses[h] = record[h] - 1;
  newest[h] = 1;
  let_run(h)
}

/* The operator knows that the other host is without power, and takes the loss of what it did. */
inline o_force_resume(m) {
  printf("O%d: force-resume\n", m);
  forces--;
  s[m] = OWNED; sForced[m] = 1; sHeard[m] = 1; operated = 1; takes[m] = 0;
  disk[HOME(m)] = WHOLE; disk[PLACE(m)] = (disk[PLACE(m)] == WHOLE -> PARTIAL : disk[PLACE(m)]);
  newest[SRC(m)] = (guest[SRC(m)] != GONE);
  excused = (guest[SRC(m)] == GONE)
}

inline o_force_commit(m) {
  printf("O%d: force-commit\n", m);
  if :: d[m] == READY -> d[m] = COMMITTED :: else fi;
  forces--;
  dForced[m] = 1; dHeard[m] = 1; asks[m] = 0; operated = 1; told[m] = NOTHING; takes[m] = 1;
  if :: d[m] == RUNNING -> taken_by_force(m) :: else fi
}

/* By then no answer of the server before is under way any more. */
inline o_accept_ledger(h) {
  printf("O%d: accepts the restored ledger\n", h);
  restored[h] = 0;
  if :: DST(0) == h -> open[0] = 0 :: else fi;
#ifdef ACCEPTED_BLINDLY
  doubt[0] = 0;
  if :: d[0] == RECEIVING -> d[0] = ABORTED :: else fi;
#endif
  aOpened[0] = 0; aReady[0] = 0; aRunning[0] = 0; aBack[0] = 0; aGone[0] = 0
}

/* ---- faults */

inline taken_up(m, h) {
  if
  :: SRC(m) == h -> s_forget(m)
  :: else
  fi;
  if
  :: DST(m) == h ->
    d_forget(m);
    asks[m] = (d[m] == READY || d[m] == COMMITTED || d[m] == STARTING) && !(dForced[m] && D_SURE(m))
  :: else
  fi
}

inline f_server_dies(h) {
  printf("F%d: the server dies\n", h);
  crashes--;
  taken_up(0, h);
#if MOVES > 1
  taken_up(1, h)
#endif
}

inline unheard(m, h) {
  if
  :: SRC(m) == h -> sHeard[m] = 0
  :: else -> dHeard[m] = 0; export[m] = 0
  fi
}

inline f_power_fails(h) {
  printf("F%d: the host loses power\n", h);
  outages--;
  off[h] = 1;
  perish(h);
  unheard(0, h); taken_up(0, h);
#if MOVES > 1
  unheard(1, h); taken_up(1, h)
#endif
}

inline f_power_returns(h) {
  printf("F%d: the host is on again\n", h);
  off[h] = 0
}

inline f_guest_dies(h) {
  printf("F%d: the guest's process dies\n", h);
  deaths--;
  perish(h)
}

inline f_target_dies(m) {
  printf("F%d: the export's server dies\n", m);
  targets--;
  export[m] = 0
}

/* The destination's ledger is lost, or put back from a copy of any time before. */
inline f_ledger_replaced(m) {
  printf("F%d: the destination's ledger is replaced\n", m);
  ledgers--;
  operated = 1;
  incarnation[DST(m)] = 1; restored[DST(m)] = 1;
  if
  :: d[m] = UNKNOWN; made[m] = 0; open[m] = 0
  :: d[m] >= RECEIVING -> d[m] = RECEIVING; made[m] = 1; open[m] = 1
  :: d[m] >= READY -> d[m] = READY; made[m] = 1; open[m] = 0
  :: d[m] >= COMMITTED && d[m] != ABORTED -> d[m] = COMMITTED; made[m] = 1; open[m] = 0
  :: d[m] >= STARTING && d[m] != ABORTED -> d[m] = STARTING; made[m] = 1; open[m] = 0
  fi;
  dSettled[m] = 0; dCleaned[m] = 0; dEnded[m] = 0; dHeard[m] = 0; doubt[m] = (d[m] != UNKNOWN);
  taken_up(m, DST(m));
#if MOVES > 1
  /* The copy was made before the second move began. */
  if
  :: DST(1) == DST(0) ->
    d[1] = UNKNOWN; made[1] = 0; open[1] = 0; dSettled[1] = 0; dCleaned[1] = 0; dEnded[1] = 0; dHeard[1] = 0;
    taken_up(1, DST(1))
  :: else
  fi;
#endif
  printf("F%d: it says %d\n", m, d[m])
}

/* ---- which action may happen when */

#define READY_TO_SWITCH(m) (HALTS -> guest[SRC(m)] == GONE : guest[SRC(m)] == PAUSED)
#define STILL(m) (HALTS -> guest[SRC(m)] == GONE : guest[SRC(m)] == SENT)
#define COMPLETE(m) (HALTS || guest[DST(m)] == ACTIVE)
#define HERE(m) (guest[DST(m)] == RUNS || record[DST(m)] != 0)
#define DOUBTED(m) (doubt[m] && !HERE(m))
#define D_OUTCOME(m) (d[m] == ABORTED || d[m] == RETURNED || d[m] == RUNNING)
#ifdef COMMIT_BEFORE_COMMITTING_IS_DURABLE
#define MAY_SEND_COMMIT(m) (s[m] == SWITCHING && drained[m] && aReady[m] && STILL(m) && !mCommit[m])
#else
#define MAY_SEND_COMMIT(m) 0
#endif
#ifdef NO_STARTING_RECORD
#define MAY_RUN(m) (d[m] == COMMITTED && !asks[m])
#define MAY_WRITE_STARTING(m) (d[m] == COMMITTED && !asks[m] && guest[DST(m)] == RUNS)
#else
#define MAY_RUN(m) (d[m] == STARTING && !asks[m])
#define MAY_WRITE_STARTING(m) (d[m] == COMMITTED && !asks[m] && COMPLETE(m))
#endif
#ifdef RESUME_RACES_COMMITTING
#define MAY_RESUME_EARLY(m) (s[m] == SWITCHING && guest[SRC(m)] >= PAUSED)
#define SEEN_STILL(m) (drained[m])
#else
#define MAY_RESUME_EARLY(m) 0
#define SEEN_STILL(m) STILL(m)
#endif

inline s_commit_early(m) {
  printf("S%d: commit, before COMMITTING is durable\n", m);
  mCommit[m] = 1
}

inline s_resume_early(m) {
  printf("S%d: resumes before OWNED is durable\n", m);
  let_run(SRC(m))
}

#ifdef REMOVED_BEFORE_THE_OUTCOME
#define MAY_REMOVE_EARLY(m) (s[m] == COMMITTING && disk[HOME(m)] != NONE)
#elif defined(REMOVED_BEFORE_THE_COPY_ENDS)
#define MAY_REMOVE_EARLY(m) (s[m] == SENDING && opened[m] && disk[HOME(m)] != NONE)
#else
#define MAY_REMOVE_EARLY(m) 0
#endif

inline s_remove_early(m) {
  printf("S%d: disk removed before GIVEN\n", m);
  delete(HOME(m))
}

#ifdef GOES_ON_THOUGH_CLOSED
#define MAY_GO_ON(m) 1
#else
#define MAY_GO_ON(m) (open[m])
#endif

#define MIGRATION(m) \
  :: d_step { MAY_BEGIN(m) -> s_begin(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == SENDING && sAlive[m] && aOpened[m] && !opened[m] -> s_opened(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == SENDING && !sAlive[m] && (HALTS -> guest[SRC(m)] == GONE : guest[SRC(m)] == RUNS) -> s_go_on(m) } \
  :: d_step { s[m] == SENDING && opened[m] && guest[SRC(m)] == RUNS && guest[DST(m)] == INCOMING -> h_pause(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == SENDING && opened[m] && READY_TO_SWITCH(m) -> s_switch(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == SWITCHING && opened[m] && !drained[m] && export[m] && copying[m] && READY_TO_SWITCH(m) -> s_drain(m) } \
  :: d_step { guest[SRC(m)] == FINISHING && S_UNENDED(m) -> h_sent(m) } \
  :: d_step { (guest[SRC(m)] == FINISHING || guest[SRC(m)] == SENT) && S_UNENDED(m) && guest[DST(m)] == INCOMING && uses[DST(m)] == PLACE(m) -> h_received(m) } \
  :: d_step { hiccups > 0 && S_UNENDED(m) && (guest[SRC(m)] == PAUSED || guest[SRC(m)] == FINISHING) -> h_resumes(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == SWITCHING && drained[m] && aReady[m] && SEEN_STILL(m) -> s_committing(m) } \
  :: d_step { WORKS(SRC(m)) && MAY_SEND_COMMIT(m) -> s_commit_early(m) } \
  :: d_step { WORKS(SRC(m)) && MAY_RESUME_EARLY(m) -> s_resume_early(m) } \
  :: d_step { WORKS(SRC(m)) && (s[m] == SENDING || s[m] == SWITCHING) -> s_give_up(m) } \
  :: d_step { WORKS(SRC(m)) && MAY_REMOVE_EARLY(m) -> s_remove_early(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == COMMITTING && aBack[m] -> s_returned(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == COMMITTING && aRunning[m] -> s_given(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == OWNED && !sEnded[m] && !sCleaned[m] -> s_resume(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == OWNED && !sEnded[m] && aBack[m] && !(mAcknowledge[m] && sHeard[m]) -> s_told(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == GIVEN && !sEnded[m] && !sForced[m] && !sCleaned[m] && !handled[m] -> s_destroy_guest(m) } \
  :: d_step { WORKS(SRC(m)) && s[m] == GIVEN && !sEnded[m] && !sForced[m] && !sCleaned[m] && handled[m] -> s_clean(m) } \
  :: d_step { WORKS(SRC(m)) && (s[m] == OWNED || s[m] == GIVEN) && !sEnded[m] && !sSettled[m] && aGone[m] -> s_settled(m) } \
  :: d_step { WORKS(DST(m)) && mOpen[m] && d[m] == UNKNOWN && FREE(DST(m)) && COUNTS(m) -> d_open(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RECEIVING && dAlive[m] && !made[m] && record[DST(m)] == 0 && guest[DST(m)] == GONE -> d_create(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RECEIVING && !dAlive[m] && !doubt[m] && made[m] && MAY_GO_ON(m) -> d_go_on(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RECEIVING && dAlive[m] && made[m] && !HALTS && guest[DST(m)] == GONE && record[DST(m)] == 0 -> d_start_guest(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RECEIVING && dAlive[m] && made[m] && s[m] == SENDING && sAlive[m] && !opened[m] && !aOpened[m] -> d_say_opened(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RECEIVING && dAlive[m] && made[m] && mClose[m] && !sealing[m] -> d_close(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RECEIVING && dAlive[m] && sealing[m] && !sealed[m] -> d_closed(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RECEIVING && dAlive[m] && sealed[m] && guest[DST(m)] == RECEIVED -> d_activate(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RECEIVING && dAlive[m] && sealed[m] && COMPLETE(m) -> d_ready(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == READY && s[m] == SWITCHING && sAlive[m] && drained[m] && !aReady[m] && COUNTS(m) -> d_say_ready(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && (d[m] == RECEIVING || (d[m] == READY && !COMPLETE(m))) -> d_abort_self(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && mCommit[m] && d[m] == READY && COUNTS(m) -> d_commit(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && !refused[m] && d[m] == COMMITTED && !COMPLETE(m) && guest[DST(m)] == GONE -> d_return(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && refused[m] && d[m] == STARTING -> d_return(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && MAY_WRITE_STARTING(m) -> d_starting(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && MAY_RUN(m) && guest[DST(m)] == ACTIVE -> d_run(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && refusals > 0 && MAY_RUN(m) && guest[DST(m)] == ACTIVE && d[m] == STARTING -> d_refused(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && d[m] == STARTING && !refused[m] && (guest[DST(m)] == RUNS || guest[DST(m)] == GONE) -> d_running(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && (d[m] == COMMITTED || d[m] == STARTING) && asks[m] && (told[m] == WANTED || told[m] == HANDED_OVER) -> d_consent(m) } \
  :: d_step { WORKS(DST(m)) && (DOUBTED(m) || (!doubt[m] && (d[m] == READY || ((d[m] == COMMITTED || d[m] == STARTING) && asks[m])))) && told[m] == FORCED_BACK -> d_yield(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && d[m] == READY && told[m] == TAKEN_BACK -> d_abort_self(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RUNNING && !dEnded[m] && !dHeard[m] && told[m] != NOTHING && told[m] != FORCED_BACK -> d_heard(m) } \
  :: d_step { WORKS(DST(m)) && doubt[m] && (HERE(m) || (told[m] == HANDED_OVER && disk[PLACE(m)] != NONE)) -> d_arrived(m) } \
  :: d_step { WORKS(DST(m)) && DOUBTED(m) && (told[m] == TAKEN_BACK || told[m] == OTHERWISE || (told[m] == HANDED_OVER && disk[PLACE(m)] == NONE)) -> d_undone(m) } \
  :: d_step { WORKS(DST(m)) && DOUBTED(m) && told[m] == WANTED && WAITS(m) -> d_believed(m) } \
  :: d_step { WORKS(DST(m)) && WORKS(SRC(m)) && ASKING(m) && told[m] != ANSWER(m) -> s_say_status(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RUNNING && !dEnded[m] && !dCleaned[m] && record[DST(m)] == 0 -> d_show(m) } \
  :: d_step { WORKS(DST(m)) && d[m] == RUNNING && !dEnded[m] && !dCleaned[m] && record[DST(m)] != 0 -> d_cleaned(m) } \
  :: d_step { WORKS(DST(m)) && s[m] == COMMITTING && mCommit[m] && d[m] == RUNNING && !dEnded[m] && !aRunning[m] && COUNTS(m) -> d_say_running(m) } \
  :: d_step { WORKS(DST(m)) && (s[m] == COMMITTING || (s[m] == OWNED && !sEnded[m] && !(mAcknowledge[m] && sHeard[m]))) && (d[m] == ABORTED || d[m] == RETURNED) && !aBack[m] && !KNOWS_NOTHING(m) && COUNTS(m) -> d_say_back(m) } \
  :: d_step { WORKS(DST(m)) && !doubt[m] && mAbort[m] && (d[m] == UNKNOWN || d[m] == RECEIVING || d[m] == READY) && COUNTS(m) && !ABORT_MEANS_NOTHING(m) -> d_abort(m) } \
  :: d_step { WORKS(DST(m)) && mAcknowledge[m] && D_OUTCOME(m) && !dEnded[m] && !dSettled[m] -> d_acknowledged(m) } \
  :: d_step { WORKS(DST(m)) && mAcknowledge[m] && (dEnded[m] || d[m] == UNKNOWN) && (s[m] == OWNED || s[m] == GIVEN) && !sEnded[m] && !sSettled[m] && !aGone[m] && COUNTS(m) -> d_say_gone(m) } \
  :: d_step { WORKS(DST(m)) && (d[m] == ABORTED || d[m] == RETURNED) && !dEnded[m] && !dForced[m] && !dCleaned[m] && !sealing[m] && MAY_BE_UNDONE(m) -> d_undo_guest(m) } \
  :: d_step { WORKS(DST(m)) && (d[m] == ABORTED || d[m] == RETURNED) && !dEnded[m] && !dForced[m] && !dCleaned[m] && sealing[m] -> d_undo_disk(m) } \
  :: d_step { WORKS(DST(m)) && open[m] && !export[m] && disk[PLACE(m)] != NONE -> d_watchdog(m) } \
  :: d_step { WORKS(DST(m)) && !open[m] && export[m] && !dAlive[m] -> d_start_up_sweep(m) } \
  :: d_step { forces > 0 && !off[SRC(m)] && off[DST(m)] && (s[m] == COMMITTING || (s[m] == OWNED && !sEnded[m] && !sHeard[m])) && disk[HOME(m)] != NONE -> o_force_resume(m) } \
  :: d_step { forces > 0 && !off[DST(m)] && off[SRC(m)] && !doubt[m] && (((d[m] == READY || ((d[m] == COMMITTED || d[m] == STARTING) && !(dForced[m] && D_SURE(m)))) && COMPLETE(m)) || (d[m] == RUNNING && !dEnded[m] && !D_SURE(m) && disk[PLACE(m)] != NONE)) -> o_force_commit(m) } \
  :: d_step { targets > 0 && export[m] -> f_target_dies(m) }

#ifdef OUTCOME_FORGOTTEN_BEFORE_ACKNOWLEDGED
#define KNOWS_NOTHING(m) (dEnded[m] && s[m] == COMMITTING)
#else
#define KNOWS_NOTHING(m) 0
#endif
#ifdef NO_TOMBSTONE
#define ABORT_MEANS_NOTHING(m) (d[m] == UNKNOWN)
#else
#define ABORT_MEANS_NOTHING(m) 0
#endif
#ifdef SECOND_BESIDE_AN_UNENDED_ROW
#define AFTER_THE_FIRST (s[0] != UNKNOWN)
#else
#define AFTER_THE_FIRST (sEnded[0])
#endif
#define MAY_BEGIN(m) (s[m] == UNKNOWN && (m == 0 || AFTER_THE_FIRST) && WORKS(SRC(m)) && FREE(SRC(m)) \
  && record[SRC(m)] == 1 + HOME(m) && OF_THIS_INCARNATION(m) \
  && (HALTS -> guest[SRC(m)] == GONE : guest[SRC(m)] == RUNS))

#define HOST(h) \
  :: d_step { WORKS(h) && guest[h] == GONE && record[h] != 0 && GATE(h) -> c_start(h) } \
  :: d_step { crashes > 0 && !off[h] -> f_server_dies(h) } \
  :: d_step { outages > 0 && !off[h] -> f_power_fails(h) } \
  :: d_step { off[h] -> f_power_returns(h) } \
  :: d_step { deaths > 0 && guest[h] != GONE -> f_guest_dies(h) } \
  :: d_step { restored[h] && !off[h] -> o_accept_ledger(h) }

/* Faults, clients and messages have come to an end: one host has the VM, whole, and nothing is left. */
#define SETTLED(m) (!S_UNENDED(m) && !D_UNENDED(m) && !open[m] && !export[m] && !copying[m] && !made[m])
#define AT(h) (guest[h] == RUNS && record[h] == 1 + uses[h] && guest[1 - h] == GONE && record[1 - h] == 0)
#if MOVES == 1
#define ALL_SETTLED SETTLED(0)
#define DISKS ((disk[0] != NONE) + (disk[1] != NONE))
#else
#define ALL_SETTLED (SETTLED(0) && SETTLED(1))
#define DISKS ((disk[0] != NONE) + (disk[1] != NONE) + (disk[2] != NONE))
#endif

init {
  d_step {
    disk[0] = WHOLE;
    record[0] = 1;
    if :: !HALTS -> guest[0] = RUNS; newest[0] = 1 :: else fi
  }
  do
  MIGRATION(0)
#if MOVES > 1
  MIGRATION(1)
#endif
  HOST(0)
  HOST(1)
  :: atomic { ledgers > 0 && d[0] != UNKNOWN && !off[1] -> f_ledger_replaced(0) }
#ifdef GOAL
  :: GOAL -> assert(the_goal_is_reached); break
#endif
  :: TWO_WRITERS(0) || TWO_WRITERS(1) -> assert(one_writer_to_a_disk); break
  :: else -> break
  od;
  PROMISE(everything_ends_and_nothing_is_left, operated || (ALL_SETTLED && (AT(0) || AT(1)) && DISKS == 1))
}
