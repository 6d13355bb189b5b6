package io.xenferry.packaging;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noFields;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The rules between modules and packages; ARCHITECTURE.md draws them. */
@AnalyzeClasses(packages = "io.xenferry", importOptions = ImportOption.DoNotIncludeTests.class)
class ArchitectureTest {

  @ArchTest
  static final ArchRule MODULES_DEPEND_DOWNWARDS =
      layeredArchitecture()
          .consideringOnlyDependenciesInLayers()
          .withOptionalLayers(true)
          .layer("model")
          .definedBy("io.xenferry.model..", "io.xenferry.schema..")
          .layer("block")
          .definedBy("io.xenferry.block..", "io.xenferry.time..")
          .layer("nbd")
          .definedBy("io.xenferry.nbd..")
          .layer("iscsi")
          .definedBy("io.xenferry.iscsi..")
          .layer("copy")
          .definedBy("io.xenferry.copy..")
          .layer("sr")
          .definedBy("io.xenferry.sr..")
          .layer("spi")
          .definedBy("io.xenferry.spi..")
          .layer("wire")
          .definedBy("io.xenferry.wire..")
          .layer("xe")
          .definedBy("io.xenferry.xe..")
          .layer("cli")
          .definedBy("io.xenferry.cli..")
          .layer("qemu")
          .definedBy("io.xenferry.qemu..")
          .layer("migration")
          .definedBy("io.xenferry.migration..")
          .layer("server")
          .definedBy("io.xenferry.server..")
          .layer("guest")
          .definedBy("io.xenferry.guest..")
          .layer("simulation")
          .definedBy("io.xenferry.simulation..")
          .layer("bench")
          .definedBy("io.xenferry.bench..")
          .layer("fuzz")
          .definedBy("io.xenferry.fuzz..")
          .layer("packaging")
          .definedBy("io.xenferry.packaging..")
          .whereLayer("model")
          .mayNotAccessAnyLayer()
          .whereLayer("block")
          .mayNotAccessAnyLayer()
          .whereLayer("xe")
          .mayNotAccessAnyLayer()
          .whereLayer("nbd")
          .mayOnlyAccessLayers("block")
          .whereLayer("iscsi")
          .mayOnlyAccessLayers("block")
          .whereLayer("copy")
          .mayOnlyAccessLayers("block")
          .whereLayer("sr")
          .mayOnlyAccessLayers("block", "copy", "iscsi", "model", "nbd")
          .whereLayer("spi")
          .mayOnlyAccessLayers("block", "copy", "model")
          .whereLayer("wire")
          .mayOnlyAccessLayers("model", "spi")
          .whereLayer("cli")
          .mayOnlyAccessLayers("xe", "model", "spi")
          .whereLayer("qemu")
          .mayOnlyAccessLayers("block", "copy", "nbd", "spi")
          .whereLayer("migration")
          .mayOnlyAccessLayers("block", "copy", "model", "spi", "wire")
          .whereLayer("simulation")
          .mayOnlyAccessLayers(
              "block", "copy", "iscsi", "migration", "model", "server", "spi", "wire")
          .whereLayer("bench")
          .mayOnlyAccessLayers("block", "copy", "iscsi", "migration", "nbd")
          .whereLayer("fuzz")
          .mayOnlyAccessLayers(
              "block", "iscsi", "migration", "model", "nbd", "qemu", "spi", "wire", "xe")
          .whereLayer("guest")
          .mayOnlyAccessLayers("block", "nbd")
          .whereLayer("server")
          .mayOnlyBeAccessedByLayers("packaging", "simulation")
          .whereLayer("packaging")
          .mayNotBeAccessedByAnyLayer();

  @ArchTest
  static final ArchRule PACKAGES_HAVE_NO_CYCLES =
      slices().matching("io.xenferry.(**)").should().beFreeOfCycles();

  @ArchTest
  static final ArchRule LOGGING_IS_SLF4J =
      noClasses()
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(
              "java.util.logging..", "org.apache.log4j..", "org.apache.commons.logging..");

  @ArchTest
  static final ArchRule NAMES_SAY_WHAT_THINGS_ARE =
      noClasses()
          .should()
          .haveSimpleNameEndingWith("Manager")
          .orShould()
          .haveSimpleNameEndingWith("Helper")
          .orShould()
          .haveSimpleNameEndingWith("Util")
          .orShould()
          .haveSimpleNameEndingWith("Utils")
          .orShould()
          .haveSimpleNameEndingWith("Impl");

  @ArchTest
  static final ArchRule COORDINATION_NEVER_TOUCHES_A_BLOCK =
      noClasses()
          .that()
          .resideInAPackage("io.xenferry.migration..")
          .should()
          .dependOnClassesThat()
          .haveFullyQualifiedName("io.xenferry.block.BlockBackend")
          .allowEmptyShould(true);

  @ArchTest
  static final ArchRule ONLY_THE_CODEC_KNOWS_JSCSI =
      noClasses()
          .that()
          .resideOutsideOfPackage("io.xenferry.iscsi.pdu..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("org.jscsi..")
          .allowEmptyShould(true);

  @ArchTest
  static final ArchRule NO_SHELLS =
      noClasses()
          .that()
          .resideOutsideOfPackages("io.xenferry.packaging..")
          .should()
          .callMethod(Runtime.class, "exec", String.class)
          .allowEmptyShould(true);

  @ArchTest
  static final ArchRule ENUMS_AND_RECORDS_HAVE_NO_PUBLIC_MUTABLE_FIELDS =
      noFields()
          .that()
          .arePublic()
          .and()
          .areNotStatic()
          .should()
          .notBeFinal()
          .allowEmptyShould(true);

  @ArchTest
  static final ArchRule PACKAGES_ARE_NULL_MARKED =
      classes()
          .that()
          .haveSimpleName("package-info")
          .should()
          .beAnnotatedWith("org.jspecify.annotations.NullMarked");
}
