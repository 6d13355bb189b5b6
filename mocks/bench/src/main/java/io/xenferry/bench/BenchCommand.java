package io.xenferry.bench;

import io.xenferry.bench.api.ApiBench;
import io.xenferry.bench.migrate.MigrateBench;
import io.xenferry.bench.target.TargetBench;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code xenferry bench}: measures against a peer in the same run. */
@Command(
    name = "xenferry bench",
    description = "Measures XenFerry against a peer in the same run.",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true,
    subcommands = {
      ApiBench.class,
      CopyBench.class,
      EngineBench.class,
      LedgerBench.class,
      MigrateBench.class,
      NbdBench.class,
      ProbeBench.class,
      ProofBench.class,
      TargetBench.class
    })
public final class BenchCommand implements Callable<Integer> {
  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  public static void main(String[] arguments) {
    System.exit(new CommandLine(new BenchCommand()).execute(arguments));
  }

  @Override
  public Integer call() {
    spec.commandLine().usage(System.err);
    return CommandLine.ExitCode.USAGE;
  }
}
