package io.xenferry.migration.peer;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * The server side of the peers' protocol, whatever carries it: authenticates, reads, hands to the
 * {@link PeerHandler}, writes. Junk gets a 4xx and touches nothing. Thread-safe.
 *
 * <pre>
 * PUT  /v1/incoming/{migration}                 Open
 * POST /v1/incoming/{migration}/check           Check
 * POST /v1/incoming/{migration}/{verb}          heartbeat guest close-exports prepare commit abort
 *                                               status acknowledge room reopen digests
 * POST /v1/outgoing/{migration}/status          SourceStatus, asked by the destination
 * </pre>
 *
 * <p>Each request carries the token, and, Open and Check apart, the MAC with the migration's key.
 * For an id that has no row here the token alone is enough, since nothing can be gained: status
 * says unknown, abort leaves a tombstone, acknowledge says gone. A source that is asked about one
 * says so to anybody: its token is the destination's, which it cannot check.
 */
public final class PeerEndpoint {
  /** Bytes of an Open or a Check: the plan and the VM's metadata. */
  public static final int MAX_OPEN = StrictJson.MAX_DOCUMENT;

  /** Bytes of any other message. */
  public static final int MAX_MESSAGE = 256 << 10;

  private static final String INCOMING = "/v1/incoming/";
  private static final String OUTGOING = "/v1/outgoing/";

  private final PeerHandler handler;
  private final TokenMint mint;

  public PeerEndpoint(PeerHandler handler, TokenMint mint) {
    this.handler = handler;
    this.mint = mint;
  }

  /** Never fails and never completes exceptionally. */
  public CompletableFuture<PeerResponse> handle(PeerRequest request) {
    try {
      return dispatch(request)
          .handle((answer, failure) ->
              failure == null
                  ? response(answer.refused() ? 409 : 200, answer)
                  : refusal(500, "INTERNAL_ERROR", "the server failed to handle this message"));
    } catch (HttpStatus e) {
      return CompletableFuture.completedFuture(refusal(e.status, e.code, e.sentence));
    }
  }

  /**
   * Whether a request for the memory stream, {@code PUT /v1/incoming/{id}/memory} with an Upgrade,
   * is authentic; the caller then relays its bytes to the incoming guest.
   *
   * @return the migration, or absent when refused
   */
  public Optional<MigrationId> admitMemory(PeerRequest request) {
    try {
      Route route = route(request);
      if (!route.verb.equals("memory") || route.role != Role.DESTINATION) {
        return Optional.empty();
      }
      Optional<String> key = handler.key(route.migration, route.role);
      return key.isPresent() && signed(request, key.get())
          ? Optional.of(route.migration)
          : Optional.empty();
    } catch (HttpStatus e) {
      return Optional.empty();
    }
  }

  private CompletableFuture<PeerAnswer> dispatch(PeerRequest request) throws HttpStatus {
    Route route = route(request);
    boolean open = route.verb.isEmpty();
    boolean byToken =
        open
            || (route.role == Role.DESTINATION
                && (route.verb.equals("check") || route.verb.equals("turn")));
    if (request.body().length > (byToken ? MAX_OPEN : MAX_MESSAGE)) {
      throw new HttpStatus(413, "MESSAGE_PARAMETER_COUNT_MISMATCH", "body too large");
    }
    if (!request.method().equals(open ? "PUT" : "POST")) {
      throw new HttpStatus(405, "MESSAGE_METHOD_UNKNOWN", "wrong method");
    }
    Optional<String> key = handler.key(route.migration, route.role);
    Optional<Token> token = byToken || key.isEmpty() ? token(request, route) : Optional.empty();
    boolean byKey = false;
    if (byToken) {
      if (token.isEmpty()) {
        throw new HttpStatus(401, "SESSION_AUTHENTICATION_FAILED", "no valid token of this host");
      }
    } else if (key.isPresent()) {
      byKey = signed(request, key.get());
      if (!byKey) {
        throw new HttpStatus(403, "SESSION_AUTHENTICATION_FAILED", "not signed with the key");
      }
    } else if (token.isEmpty() && route.role != Role.SOURCE) {
      throw new HttpStatus(
          401, "SESSION_AUTHENTICATION_FAILED", "unknown here, and no valid token");
    }
    return handler.handle(
        route.migration, message(route, request.body()), new PeerHandler.Caller(token, byKey));
  }

  private Optional<Token> token(PeerRequest request, Route route) {
    String text = request.headers().getOrDefault(PeerRequest.TOKEN, "");
    if (text.isEmpty() || route.role == Role.SOURCE) {
      return Optional.empty();
    }
    try {
      Token token = mint.verify(text);
      return token.id().equals(route.migration) ? Optional.of(token) : Optional.empty();
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  private static boolean signed(PeerRequest request, String key) {
    return Keys.equal(
        Keys.sign(key, request.method(), request.path(), request.body()),
        request.headers().getOrDefault(PeerRequest.MAC, ""));
  }

  private record Route(Role role, MigrationId migration, String verb) {}

  private static Route route(PeerRequest request) throws HttpStatus {
    String path = request.path();
    Role role;
    String rest;
    if (path.startsWith(INCOMING)) {
      role = Role.DESTINATION;
      rest = path.substring(INCOMING.length());
    } else if (path.startsWith(OUTGOING)) {
      role = Role.SOURCE;
      rest = path.substring(OUTGOING.length());
    } else {
      throw notFound();
    }
    int slash = rest.indexOf('/');
    try {
      return slash < 0
          ? new Route(role, MigrationId.parse(rest), "")
          : new Route(role, MigrationId.parse(rest.substring(0, slash)), rest.substring(slash + 1));
    } catch (IllegalArgumentException e) {
      throw notFound();
    }
  }

  private static PeerMessage message(Route route, byte[] body) throws HttpStatus {
    Class<? extends PeerMessage> type;
    if (route.role == Role.SOURCE) {
      if (!route.verb.equals("status")) {
        throw notFound();
      }
      type = PeerMessage.SourceStatus.class;
    } else {
      type =
          switch (route.verb) {
            case "" -> PeerMessage.Open.class;
            case "check" -> PeerMessage.Check.class;
            case "turn" -> PeerMessage.Turn.class;
            case "heartbeat" -> PeerMessage.Heartbeat.class;
            case "guest" -> PeerMessage.StartGuest.class;
            case "close-exports" -> PeerMessage.CloseExports.class;
            case "room" -> PeerMessage.Room.class;
            case "reopen" -> PeerMessage.Reopen.class;
            case "digests" -> PeerMessage.Digests.class;
            case "prepare" -> PeerMessage.Prepare.class;
            case "commit" -> PeerMessage.Commit.class;
            case "abort" -> PeerMessage.Abort.class;
            case "status" -> PeerMessage.Status.class;
            case "acknowledge" -> PeerMessage.Acknowledge.class;
            default -> throw notFound();
          };
    }
    try {
      return StrictJson.read(body, type);
    } catch (IllegalArgumentException e) {
      throw new HttpStatus(400, "MALFORMED_MESSAGE", "the body is not what this message needs");
    }
  }

  private PeerResponse refusal(int status, String code, String sentence) {
    return response(
        status,
        PeerAnswer.unknown(handler.incarnation()).refusing(code, List.of(sentence), sentence));
  }

  private static PeerResponse response(int status, PeerAnswer answer) {
    return new PeerResponse(status, answer.write());
  }

  private static HttpStatus notFound() {
    return new HttpStatus(404, "MESSAGE_METHOD_UNKNOWN", "there is nothing at this path");
  }

  private static final class HttpStatus extends Exception {
    private static final long serialVersionUID = 1L;
    private final int status;
    private final String code;
    private final String sentence;

    HttpStatus(int status, String code, String sentence) {
      super(sentence, null, false, false);
      this.status = status;
      this.code = code;
      this.sentence = sentence;
    }
  }
}
