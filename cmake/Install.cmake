# cmake --install: header, libraries, command, pkg-config file, CMake package, bash completion.

include(CMakePackageConfigHelpers)

# The static library carries no dependencies with it: both package files name them. What scripts/setup built (FAISS) is
# named by its place in the cache.
set(MNEME_STATIC_LIBS "-Wl,-u,sgemm_ ${MNEME_FAISS_PRIVATE_LIBS} ${STEMMER_LIBRARY} -llmdb -lpthread -ldl -lm")
string(REPLACE " " ";" MNEME_STATIC_LIST "${MNEME_STATIC_LIBS}")
list(TRANSFORM MNEME_STATIC_LIST REPLACE "^-l" "")

# The pkg-config file finds the headers from where it lies itself, so that the prefix may be moved.
file(RELATIVE_PATH MNEME_INCLUDE_FROM_PC "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/${CMAKE_INSTALL_INCLUDEDIR}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/mneme.pc.in" "${CMAKE_CURRENT_BINARY_DIR}/mneme.pc" @ONLY)
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/mneme-config.cmake.in"
  "${CMAKE_CURRENT_BINARY_DIR}/mneme-config.cmake" INSTALL_DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/mneme"
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/mneme-config-version.cmake" COMPATIBILITY SameMinorVersion)

install(FILES include/mneme.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(TARGETS mneme mneme_static LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/mneme.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/mneme-config.cmake" "${CMAKE_CURRENT_BINARY_DIR}/mneme-config-version.cmake"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/mneme")
if(TARGET mneme_command)
  install(TARGETS mneme_command RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
install(FILES scripts/completion/mneme.bash DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" RENAME mneme)
