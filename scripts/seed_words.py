"""The words of seeded accounts and tasks."""

from itertools import accumulate


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST = words("""
    ada alan amara anna ben carla chen dan edith emre eva felix grace hana hugo ines ivan jan joan julia kai karl lea lin
    luis maya mia nina noor olga omar paul priya rosa sam sofia tariq tom yara zoe""")
LAST = words("""
    adams bauer berg brandt byron cohen costa diaz dubois evans fischer garcia haddad hansen hopper ito jensen khan kim klein
    kowalski lange lopez marino meyer moreau nguyen novak okafor olsen patel perez rossi sato schmidt silva singh turing
    weber young""")
VERBS = words("""
    Write Review Send Plan Prepare Update Check Fix Finish Order Collect Compare Translate Test Measure Sort Discuss Present
    Approve Archive""")
KINDS = words("quarterly annual first final missing new old internal public revised urgent weekly shared monthly")
THINGS = words("""
    report budget invoice contract presentation newsletter survey roadmap release backup manual agenda offer poster schedule
    inventory forecast template checklist dashboard handbook interview proposal database website""")
PLACES = ("", "", "", " for finance", " for Monday", " with the team", " for the customer", " before the audit", " again")
SENTENCES = (
    "Figures from finance, then two pages.",
    "Ask who has the last version.",
    "See the notes of the last meeting.",
    "Keep it short.",
    "Two people should read it first.",
    "The customer waits for this.",
    "Nobody has looked at it since spring.",
)
STEPS = (
    "Ask for the figures",
    "Write a first version",
    "Let somebody read it",
    "Put in what they found",
    "Send it",
    "File the notes",
)
PROJECTS = words("Apollo Gemini Mercury Orion Vega")
ESTIMATES = (15, 30, 60, 90, 120, 240, 480, 960)  # minutes
TAGS = words("""
    work home urgent writing meeting finance customer review bug idea travel team reading legal garden health research design
    hiring training music taxes car kitchen""")
TAG_WEIGHTS = list(accumulate(1 / place for place in range(1, len(TAGS) + 1)))  # Zipf: a few are very frequent, most are rare
