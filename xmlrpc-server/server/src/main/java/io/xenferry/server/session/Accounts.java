package io.xenferry.server.session;

import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * Users and groups that somebody else keeps. Each has an identifier: {@code u} and a user's number,
 * {@code g} and a group's. Whatever cannot be asked is AUTH_SERVICE_ERROR [why]. Thread-safe.
 */
public interface Accounts extends AutoCloseable {

  /** What became of a password. */
  enum Verdict {
    RIGHT,
    WRONG,
    /** It may be right, but nobody may use the account. */
    CLOSED
  }

  /**
   * Whether passwords can be checked at all.
   *
   * @throws XenApiException AUTH_ENABLE_FAILED [why] when not
   */
  void requireUsable() throws XenApiException;

  /** Of the user of that name, or else of the group. */
  Optional<String> identifier(String name) throws XenApiException, InterruptedException;

  /** What is to be told of one, by the keys that published clients know. */
  Optional<SequencedMap<String, String>> information(String identifier)
      throws XenApiException, InterruptedException;

  /** Identifiers of the groups that one belongs to; a group belongs to itself. */
  List<String> groups(String identifier) throws XenApiException, InterruptedException;

  Verdict authenticate(String name, String password) throws XenApiException, InterruptedException;

  /** Nobody is asked for any more. Does not wait for those who are being asked for. */
  @Override
  default void close() {}
}
