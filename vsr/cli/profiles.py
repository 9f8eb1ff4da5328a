"""`vsr profiles`: the profiles in the package."""

import click

from vsr.cli.streams import print_result


@click.command("profiles")
@click.argument("name", required=False)
def profiles_command(name: str | None) -> None:
    """List the included profiles of --profile, or print one.

    A profile is a TOML file of options for a type of source. Print one into a file to change it.

    \b
    vsr profiles
    vsr profiles vhs > my.toml
    vsr upscale tape.avi tape.mkv --profile my.toml
    """
    from vsr.engine.profile import list_profiles, profile_path, read_profile

    if name is not None:
        read_profile(name)  # also for its errors
        print_result(profile_path(name).read_text(encoding="utf-8"), nl=False)
        return
    summaries = list_profiles()
    width = max(map(len, summaries))
    for profile, summary in summaries.items():
        options = ", ".join(f"{key} {value}" for key, value in read_profile(profile).items())
        print_result(f"{profile:<{width}} {summary}")
        print_result(f"{'':<{width}} {options}")
