package io.xenferry.server.session;

import java.io.IOException;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.file.Path;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Linux-PAM, pam(3): one conversation for one password. Everything that a module asks for without
 * an echo is answered with the password, and nothing else is.
 */
final class Pam {
  private static final Logger LOG = LoggerFactory.getLogger(Pam.class);

  // From security/_pam_types.h.
  private static final int SUCCESS = 0;
  private static final int BUFFER_ERROR = 5;
  private static final int CONVERSATION_ERROR = 19;
  private static final int PROMPT_WITHOUT_ECHO = 1;
  private static final int PROMPT = 2;
  private static final int SILENT = 0x8000;

  /** Of one conversation; more is no module's. */
  private static final int MESSAGES = 32;

  /** struct pam_message and struct pam_response: an int and a pointer, in either order. */
  private static final long PAIR = 16;

  private static final AddressLayout POINTER = ValueLayout.ADDRESS;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;

  private Pam() {}

  /** The functions, once they are needed. */
  private static final class Library {
    private static final Optional<Library> FOUND = find();

    final MethodHandle start;
    final Optional<MethodHandle> startIn;
    final MethodHandle authenticate;
    final MethodHandle account;
    final MethodHandle end;
    final MethodHandle calloc;
    final MethodHandle strdup;

    private Library(Linker linker, SymbolLookup pam) {
      SymbolLookup libc = linker.defaultLookup();
      start =
          linker.downcallHandle(
              pam.findOrThrow("pam_start"),
              FunctionDescriptor.of(INT, POINTER, POINTER, POINTER, POINTER));
      startIn =
          pam.find("pam_start_confdir")
              .map(function ->
                  linker.downcallHandle(
                      function,
                      FunctionDescriptor.of(INT, POINTER, POINTER, POINTER, POINTER, POINTER)));
      FunctionDescriptor step = FunctionDescriptor.of(INT, POINTER, INT);
      authenticate = linker.downcallHandle(pam.findOrThrow("pam_authenticate"), step);
      account = linker.downcallHandle(pam.findOrThrow("pam_acct_mgmt"), step);
      end = linker.downcallHandle(pam.findOrThrow("pam_end"), step);
      calloc =
          linker.downcallHandle(
              libc.findOrThrow("calloc"),
              FunctionDescriptor.of(POINTER, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));
      strdup =
          linker.downcallHandle(
              libc.findOrThrow("strdup"), FunctionDescriptor.of(POINTER, POINTER));
    }

    private static Optional<Library> find() {
      try {
        SymbolLookup pam = SymbolLookup.libraryLookup("libpam.so.0", Arena.global());
        return Optional.of(new Library(Linker.nativeLinker(), pam));
      } catch (RuntimeException e) { // not there
        LOG.info("PAM cannot be used: {}", e.toString());
        return Optional.empty();
      }
    }
  }

  static boolean isInstalled() {
    return Library.FOUND.isPresent();
  }

  /**
   * @param configuration directory of the services; the system's unless given
   * @throws IOException PAM is not there, or does not begin
   */
  static Accounts.Verdict check(
      String service, Optional<Path> configuration, String user, String password)
      throws IOException {
    Library pam = Library.FOUND.orElseThrow(() -> new IOException("libpam.so.0 is not installed"));
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment handle = arena.allocate(POINTER);
      MemorySegment conversation = conversation(arena, new Answers(pam, password));
      int status;
      if (configuration.isPresent()) {
        MethodHandle startIn =
            pam.startIn.orElseThrow(() -> new IOException("PAM is older than 1.4"));
        status =
            (int)
                startIn.invokeExact(
                    arena.allocateFrom(service),
                    arena.allocateFrom(user),
                    conversation,
                    arena.allocateFrom(configuration.get().toString()),
                    handle);
      } else {
        status =
            (int)
                pam.start.invokeExact(
                    arena.allocateFrom(service), arena.allocateFrom(user), conversation, handle);
      }
      if (status != SUCCESS) {
        throw new IOException("pam_start: " + status);
      }
      MemorySegment pamh = handle.get(POINTER, 0);
      try {
        status = (int) pam.authenticate.invokeExact(pamh, SILENT);
        if (status != SUCCESS) {
          LOG.debug("pam_authenticate of {}: {}", user, status);
          return Accounts.Verdict.WRONG;
        }
        status = (int) pam.account.invokeExact(pamh, SILENT);
        LOG.debug("pam_acct_mgmt of {}: {}", user, status);
        return status == SUCCESS ? Accounts.Verdict.RIGHT : Accounts.Verdict.CLOSED;
      } finally {
        int _ = (int) pam.end.invokeExact(pamh, status);
      }
    } catch (IOException | RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IOException(e);
    }
  }

  /** struct pam_conv. */
  private static MemorySegment conversation(Arena arena, Answers answers)
      throws ReflectiveOperationException {
    MethodHandle answer =
        MethodHandles.lookup()
            .findVirtual(
                Answers.class,
                "answer",
                MethodType.methodType(
                    int.class,
                    int.class,
                    MemorySegment.class,
                    MemorySegment.class,
                    MemorySegment.class))
            .bindTo(answers);
    MemorySegment stub =
        Linker.nativeLinker()
            .upcallStub(answer, FunctionDescriptor.of(INT, INT, POINTER, POINTER, POINTER), arena);
    MemorySegment conversation =
        arena.allocate(MemoryLayout.structLayout(POINTER, POINTER).byteSize(), 8);
    conversation.set(POINTER, 0, stub);
    conversation.set(POINTER, 8, MemorySegment.NULL);
    return conversation;
  }

  /** What modules are told. */
  private record Answers(Library pam, String password) {

    /** Called by the library: an exception would end the process. */
    int answer(int count, MemorySegment messages, MemorySegment response, MemorySegment data) {
      try (Arena arena = Arena.ofConfined()) {
        if (count <= 0 || count > MESSAGES) {
          return CONVERSATION_ERROR;
        }
        // PAM frees both: they are the C library's.
        MemorySegment replies = (MemorySegment) pam.calloc.invokeExact((long) count, PAIR);
        if (replies.equals(MemorySegment.NULL)) {
          return BUFFER_ERROR;
        }
        MemorySegment asked = messages.reinterpret(count * POINTER.byteSize());
        MemorySegment told = replies.reinterpret(count * PAIR);
        for (int i = 0; i < count; i++) {
          int style = asked.getAtIndex(POINTER, i).reinterpret(PAIR).get(INT, 0);
          if (style == PROMPT_WITHOUT_ECHO || style == PROMPT) {
            String words = style == PROMPT ? "" : password;
            MemorySegment copy = (MemorySegment) pam.strdup.invokeExact(arena.allocateFrom(words));
            told.set(POINTER, i * PAIR, copy);
          }
        }
        response.reinterpret(POINTER.byteSize()).set(POINTER, 0, replies);
        return SUCCESS;
      } catch (Throwable e) {
        LOG.error("a question of PAM's is not answered", e);
        return CONVERSATION_ERROR;
      }
    }
  }
}
