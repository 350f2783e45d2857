# Headers, libraries, the CMake package "ehlo" and the pkg-config files.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ehlo)

install(DIRECTORY include/ehlo DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS ehlo ehlo_static ehlo_net ehlo_net_static EXPORT ehlo_targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(EXPORT ehlo_targets NAMESPACE ehlo:: FILE ehlo-targets.cmake DESTINATION ${package_dir})

configure_package_config_file(lib/cmake/ehlo-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/ehlo-config.cmake
                              INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may break.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/ehlo-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ehlo-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/ehlo-config-version.cmake
        DESTINATION ${package_dir})

# The prefix is found from where the .pc file lies, so that an installed tree may be moved.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
    file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
    string(REGEX REPLACE "/$" "" up "${up}")
    set(pc_prefix "\${pcfiledir}/${up}")
endif()
foreach(kind LIBDIR INCLUDEDIR)
    string(TOLOWER ${kind} name)
    if(IS_ABSOLUTE "${CMAKE_INSTALL_${kind}}")
        set(pc_${name} ${CMAKE_INSTALL_${kind}})
    else()
        set(pc_${name} "\${prefix}/${CMAKE_INSTALL_${kind}}")
    endif()
endforeach()
foreach(name ehlo ehlo-net)
    configure_file(lib/cmake/${name}.pc.in ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc @ONLY)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
