package io.xenferry.model.db;

/** That an object once was. */
record Deletion(String className, String ref, long seq, long created, long deleted) {}
