package io.xenferry.server.cli;

import io.xenferry.cli.Migrations;
import io.xenferry.model.XenApiException;
import java.util.List;
import java.util.SequencedMap;

/** A server that takes part in none. */
public final class NoMigrations implements Migrations {
  @Override
  public List<SequencedMap<String, String>> list(String session) {
    return List.of();
  }

  @Override
  public void forceCommit(String session, String id) throws XenApiException {
    throw new XenApiException("INVALID_VALUE", "id", id);
  }

  @Override
  public void forceResume(String session, String id) throws XenApiException {
    throw new XenApiException("INVALID_VALUE", "id", id);
  }
}
