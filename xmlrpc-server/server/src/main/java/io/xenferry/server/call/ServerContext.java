package io.xenferry.server.call;

import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.audit.Audit;
import io.xenferry.server.config.ServerConfig;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.event.Events;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.session.Sessions;
import io.xenferry.server.session.Subjects;
import io.xenferry.server.session.Users;
import io.xenferry.server.task.Tasks;
import java.time.Clock;

/** What the code of messages works with. */
public record ServerContext(
    ServerConfig config,
    ObjectDatabase db,
    Schema schema,
    Clock clock,
    Users users,
    Subjects subjects,
    Sessions sessions,
    Tasks tasks,
    Events events,
    Alerts alerts,
    Audit audit) {}
