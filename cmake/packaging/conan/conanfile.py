"""softlook for Conan 2:  conan create cmake/packaging/conan  packs the headers of the tree that this file lies in, and with
-o "softlook/*:compiled=True"  the library softlook::compiled as well. Its own CMake and pkg-config files come with it."""

import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load
from conan.tools.scm import Version


class Softlook(ConanFile):
    name = "softlook"
    description = "Attention over Eigen matrices: a header-only C++20 library that shows its weights"
    license = "MIT"
    topics = ("attention", "transformer", "eigen", "header-only")
    settings = "os", "arch", "compiler", "build_type"
    options = {"compiled": [True, False], "fPIC": [True, False]}
    default_options = {"compiled": False, "fPIC": True}

    @property
    def _tree(self):
        return os.path.join(self.recipe_folder, "..", "..", "..")

    def set_version(self):
        text = load(self, os.path.join(self._tree, "include", "softlook", "core", "version.hpp"))
        self.version = ".".join(re.findall(r"#define SOFTLOOK_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", text))

    def export_sources(self):
        for pattern in ("CMakeLists.txt", "LICENSE", "include/*", "cmake/*"):
            copy(self, pattern, self._tree, self.export_sources_folder, excludes="*__pycache__*")

    def configure(self):
        self.package_type = "static-library" if self.options.compiled else "header-library"
        if not self.options.compiled:
            self.options.rm_safe("fPIC")

    def layout(self):
        cmake_layout(self)

    def requirements(self):
        self.requires("eigen/[>=3.4.0]", transitive_headers=True)

    def package_id(self):
        if not self.info.options.compiled:
            self.info.clear()

    def validate(self):
        if self.settings.get_safe("compiler.cppstd"):
            check_min_cppstd(self, 20)
        oldest = {"gcc": "12", "clang": "16", "apple-clang": "16"}.get(str(self.settings.compiler))
        if oldest is None or Version(self.settings.compiler.version) < oldest:
            raise ConanInvalidConfiguration("softlook needs gcc 12 or clang 16, or a later one")

    def generate(self):
        toolchain = CMakeToolchain(self)
        for part in ("TESTS", "EXAMPLES", "BENCHMARKS"):
            toolchain.cache_variables[f"SOFTLOOK_BUILD_{part}"] = False
        toolchain.cache_variables["SOFTLOOK_BUILD_COMPILED"] = bool(self.options.compiled)
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        # Its own config file has both targets; generated ones would have to repeat it.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = ["lib/cmake/softlook" if self.options.compiled else "share/cmake/softlook"]
        self.cpp_info.libdirs = ["lib"] if self.options.compiled else []
        self.cpp_info.bindirs = []
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.system_libs = ["pthread"]
        if self.options.compiled:
            self.cpp_info.libs = ["softlook_compiled"]
            flags = load(self, os.path.join(self.package_folder, "lib", "pkgconfig", "softlook-compiled.pc"))
            self.cpp_info.defines = re.findall(r"-D(\S+)", flags)
