"""Thirty rows in the tone of FineVideo's notes, made up, with what goes wrong there: numbered titles, names
among props, brackets in moods, speech between pictures, sentences about the notes themselves."""

from __future__ import annotations

from typing import Any

from tests.helpers.finevideo import row, span

Note = tuple[str, list[str], list[str], list[str], str]
"""A scene: title, activities, narrative, props, mood."""
NOTES: list[tuple[str, str, list[Note]]] = [
    ("Cooking", "A detailed scene-by-scene analysis of a cooking video about gnocchi.", [
        ("Scene 1: The Dough", ["Marta Rossi kneads potato dough on a wooden board", "She dusts it with flour while explaining why it must stay dry."], [], ["Wooden board", "00 Flour", "KitchenAid mixer"], "Calm. Soft light fills the kitchen."),
        ("Scene 2", ["Marta rolls the dough into ropes. She mentions that her grandmother did the same.", "She cuts the ropes into small pieces"], [], ["Knives", "Two bowls"], "Happy (she smiles, hums)"),
        ("Final Scene", ["Marta invites viewers to subscribe to the channel"], ["The finished dish is served with sage butter."], ["Plates"], "Neutral"),
    ]),
    ("News", "A news anchor reports on a flood in Ahrweiler and a reporter shows damaged houses.", [
        ("Introduction", ["The anchor introduces the topic"], ["The anchor highlights the damage in the valley."], ["ZDF logo", "Studio desk"], "Serious - the anchor does not smile"),
        ("On Location", ["A reporter in a yellow jacket walks past destroyed houses", "Volunteers shovel mud into buckets", "A resident explains how the water rose"], [], ["Shovels", "THW truck"], "Sad, as people have lost their homes"),
        ("Interview with the Mayor", ["The mayor emphasizes the need for help", "The mayor thanks the volunteers"], ["The mayor's remarks underline the urgency."], ["Microphones"], "Tense (the mayor is close to tears"),
    ]),
    ("Gaming", "Gameplay of a racing game on the Nürburgring, with a commentary by the player.", [
        ("Part 1 of 3", ["A red Ferrari waits at the start line", "The lights turn green"], [], ["Ferrari 488", "HUD with lap times"], "Excited"),
        ("The Race", ["The Ferrari overtakes two cars in the Karussell, and the player comments on the grip", "The player says \"Perfect line!\"", "Rain begins to fall on the track"], [], ["Porsche 911", "Speedometer"], "Thrilling; the cars are very close"),
        ("Outro", ["End screen"], ["The player asks viewers to leave a like."], [], "Content"),
    ]),
    ("Vlog", "This video provides a summary of a day in Tokyo.", [
        ("Morning in Shibuya", ["Kenji walks through Shibuya Crossing", "Kenji talks about his plans"], [], ["iPhone on a gimbal", "Hachikō statue"], "Energetic, cheerful"),
        ("Lunch", ["He eats ramen", "He tells the camera that it is the best ramen in town, slurps and nods"], [], ["Ramen bowl", "Chopsticks"], "N/A"),
        ("Evening", [], ["Kenji reflects on the day at the Sumida River.", "The sun sets behind the Tokyo Skytree."], ["Tokyo Skytree"], "Nostalgic"),
    ]),
    ("Lecture", "A professor explains the second law of thermodynamics at a blackboard.", [
        ("Entropy", ["Prof. Dr. A. Meyer writes dS ≥ 0 on the blackboard", "He explains the meaning of each symbol", "Students take notes"], [], ["Blackboard", "Chalk"], "Focused"),
        ("Questions", ["A student asks about the Carnot cycle", "The professor answers the question"], ["The discussion deepens."], [], "Curious"),
        ("Demonstration", ["The professor pours hot water into a glass of cold water. He then describes what happens.", "A thermometer rises"], [], ["Thermometers", "Bunsen burner"], "Interested (students lean forward)"),
    ]),
    ("Football", "Highlights of a match between Burnley FC and Leeds United.", [
        ("Kick-Off", ["Players of Burnley FC warm up", "The referee blows the whistle"], [], ["Match ball", "Burnley FC scarf"], "Excited"),
        ("The Goal", ["Number 9 heads the ball into the net", "Fans in the James Hargreaves Stand jump up", "Commentators analyze the goal"], [], ["Leeds United flag"], "Ecstatic. The stand shakes."),
        ("Post-Match Interview", ["The coach expresses his gratitude to the fans", "The coach stresses the importance of defence"], [], ["Sponsor wall", "Microphone"], "Proud"),
    ]),
    ("Music", "The band records a new single in Abbey Road Studios.", [
        ("Recording", ["The band records \"Dangerous.\"", "The drummer (in a red shirt) counts in"], [], ["Neumann microphone", "Fender Stratocaster"], "Creative"),
        ("Break", ["The band drinks tea"], ["They discuss the next track."], ["Teacups"], "Relaxed, friendly"),
        ("Live", ["The singer performs \"Hold On\" in front of 2,000 people. The crowd sings along.", "Confetti falls"], [], ["Confetti", "Stage lights"], "Euphoric"),
    ]),
    ("DIY", "A man builds a bookshelf out of pine boards.", [
        ("1. Measuring", ["He measures the boards", "He marks a line with a pencil, stating that accuracy matters"], [], ["Tape measure", "Pencil", "Bosch drill"], "Concentrated"),
        ("2. Cutting", ["He cuts the boards with a Makita saw"], [], ["Makita saw", "Safety goggles"], "Neutral, informative"),
        ("3. Done", ["He puts books on the shelf and recommends oiling it once a year"], [], ["Books"], "Satisfied"),
    ]),
    ("Travel", "Scenes from a train ride across Switzerland with views of the Matterhorn.", [
        ("Glacier Express", ["A red train crosses the Landwasser Viaduct", "Passengers photograph the mountains"], [], ["Glacier Express", "Panorama windows"], "Awe-inspiring"),
        ("Zermatt", ["Tourists arrive in Zermatt with skis. A guide welcomes everyone.", "A horse-drawn carriage passes"], [], ["Skis", "Matterhorn"], "Peaceful"),
        ("Scene 3", [], [], ["Matterhorn at dusk"], "Peaceful"),
    ]),
    ("Fashion", "Models present a collection by Vivienne Westwood.", [
        ("Runway", ["A model in a tartan coat walks down the runway", "Details of the buttons are shown in close-up"], [], ["Tartan coat", "Platform shoes"], "Elegant"),
        ("Backstage", ["A stylist sprays hair", "The designer details the process"], [], ["Hairspray", "Mirrors"], "Hectic"),
        ("Finale", ["All models line up", "The designer bows"], [], ["Bouquets"], "Triumphant"),
    ]),
    ("Science", "An experiment with dry ice and soap.", [
        ("Setup", ["A woman in a lab coat puts dry ice into a bowl of water"], [], ["Dry ice", "Safety gloves"], "Curious"),
        ("The Bubble", ["A large bubble grows over the bowl", "It bursts and fog spills over the table"], [], ["Soap", "Bowl"], "Amazed!"),
        ("Explanation", ["She explains sublimation, points to a diagram and writes CO2 on it"], ["Sublimation is explained."], ["Diagram"], "Educational"),
    ]),
    ("Pets", "Two dogs play in the snow.", [
        ("First Snow", ["A husky named Balto runs through deep snow", "A beagle digs a hole"], [], ["Red leash"], "Playful"),
        ("Tired", ["Both dogs sleep", "The owner jokes about the mess"], [], ["Dog blanket", "Fireplace"], "Cosy"),
        ("Business", ["He explains the plan."], [], ["Microphones"], "Proud - the video ends well"),
    ]),
    ("Politics", "A debate between two candidates in Ohio.", [
        ("Opening Statements", ["Candidate A says that taxes will fall", "Candidate B replies"], ["Both make their case."], ["Podiums", "US flag"], "Tense"),
        ("Applause", ["The audience stands up and claps", "The candidates shake hands"], [], ["CNN camera"], "Respectful"),
        ("Closing Remarks", ["The moderator thanks both"], [], [], "Neutral"),
    ]),
    ("Fitness", "A trainer demonstrates five exercises for the back.", [
        ("Exercise One", ["The trainer lies on a mat and lifts both arms", "The trainer reminds viewers to breathe"], [], ["Yoga mat", "Dumbbells"], "Motivating"),
        ("Exercise Two", ["The trainer bends forward with a straight back"], [], ["Kettlebell"], "Motivated"),
        ("Cool-Down", ["She stretches", "She says goodbye"], [], ["Water bottle"], "Calm"),
    ]),
    ("Cars", "A review of a Tesla Model Y with shots of its interior.", [
        ("Exterior", ["A white Tesla Model Y drives along a coast road", "The reviewer describes the range"], [], ["Tesla Model Y"], "Impressed"),
        ("Interior", ["A hand swipes over the screen, which shows a map. The reviewer comments on its size.", "The rear seats fold down"], [], ["Touchscreen", "Steering wheel"], "Curious / critical"),
        ("Verdict", ["The reviewer summarizes the pros and cons"], ["He recommends the car."], ["Charging station"], "Satisfied"),
    ]),
    ("History", "Archive footage of the Berlin Wall with a narrator's voice-over.", [
        ("1961", ["Workers lay concrete blocks across a street", "Soldiers unroll barbed wire"], [], ["Barbed wire", "Concrete blocks"], "Grim"),
        ("1989", ["People climb the wall at the Brandenburg Gate", "A man hits the wall with a hammer as he shouts"], [], ["Brandenburg Gate", "Hammer"], "Jubilant (people hug, cry and sing)"),
        ("Legacy", ["A historian talks about freedom"], ["The narrator concludes the story."], [], "Reflective"),
    ]),
    ("Kids", "Children build a rocket out of cardboard.", [
        ("Building", ["A girl cuts cardboard with scissors", "A boy paints a NASA logo on the rocket"], [], ["NASA logo", "Scissors", "Cardboard"], "Joyful"),
        ("Countdown", ["The children count down", "The rocket lifts off"], [], ["Toy rocket"], "Excited (crowd cheers, loud)"),
        ("Part 3", ["\"We did it!\""], [], ["Landed rocket on the grass"], "Proud"),
    ]),
    ("Art", "A painter works on a portrait of Queen Elizabeth.", [
        ("Sketch", ["The painter draws the outline of a face", "Charcoal dust covers the table"], [], ["Charcoal", "Queen Elizabeth"], "Quiet"),
        ("Colour", ["She mixes blue and white, and explains cold tones", "She paints the crown"], [], ["Oil paints", "Palette knife"], "Focused."),
        ("Finished", ["The portrait hangs in a gallery. Visitors take photos."], [], ["Gold frame"], "Admiring"),
    ]),
    ("Finance", "An overview of stock markets for beginners.", [
        ("What is a Share?", ["The presenter defines what a share is"], ["The presenter outlines the basics."], ["Chart of the S&P 500", "Laptop"], "Informative"),
        ("Charts", ["A line chart of the S&P 500 rises and falls", "An arrow points to March 2020"], [], ["Arrow"], "Neutral"),
        ("Advice", ["The presenter shares three tips for saving"], [], ["Piggy bank"], "Encouraging"),
    ]),
    ("Nature", "Time-lapse of a desert after rain.", [
        ("Dry", ["Cracked soil under a blue sky"], [], ["Cracked soil"], "Desolate"),
        ("Rain", ["Clouds gather over the dunes", "Rain falls"], [], ["Dunes"], "Hopeful"),
        ("Bloom", ["Purple flowers open across the valley, and bees land on them"], [], ["Flowers"], "Wonder"),
    ]),
    ("Comedy", "A sketch about a waiter with too many plates.", [
        ("The Order", ["Guests order soup. The waiter nods and tells a joke.", "He stacks eight plates on one arm"], [], ["Plates", "Menu (in French)"], "Funny"),
        ("The Fall", ["He slips on a banana peel", "The plates fly through the air (in slow motion)"], [], ["Banana peel"], "Chaotic, absurd"),
        ("scene three", ["The guests laugh and clap"], [], [], "Hilarious"),
    ]),
    ("Interview", "An interview with an actress about her new film.", [
        ("Scene 1 - Welcome", ["The host welcomes the audience", "The actress walks onto the stage and waves"], [], ["Red sofa", "Jimmy Kimmel mug"], "Warm"),
        ("Scene 2 - The Film", ["The actress talks about her role", "A clip from the film shows a sword fight"], [], ["Swords"], "Amused"),
        ("Scene 3 - Goodbye", ["They chat", "They hug"], [], ["Flowers"], "Friendly"),
    ]),
    ("Medicine", "A nurse demonstrates how to wash hands properly.", [
        ("Wetting", ["The nurse wets her hands under the tap", "The nurse states that 20 seconds are needed"], [], ["Tap", "Soap dispenser"], "Clinical"),
        ("Rubbing", ["She rubs palm on palm, then the backs of her hands"], [], ["Foam"], "Neutral; informative"),
        ("Drying", ["She dries her hands with a paper towel while saying that towels are shared germs"], [], ["Paper towel"], "Clean"),
    ]),
    ("Technology", "Unboxing of the Pixel 9 by MKBHD.", [
        ("Unboxing", ["A hand pulls a phone out of a white box", "He notes the weight"], [], ["Pixel 9", "USB-C cable"], "Excited"),
        ("Camera Test", ["He photographs a cat", "The photo appears on the screen beside one taken with an iPhone 16"], [], ["iPhone 16", "Cat"], "Curious"),
        ("Summary", ["He gives his opinion on the price"], [], [], "Balanced"),
    ]),
    ("Farming", "A farmer harvests wheat with a John Deere combine.", [
        ("Field", ["A John Deere combine cuts wheat. Dust rises behind it. The farmer explains the yield."], [], ["John Deere combine"], "Hard-working"),
        ("Silo", ["Grain pours into a silo"], [], ["Silo"], "Satisfied"),
        ("Evening Meal", ["The family eats at a long table (outdoors", "Someone raises a glass"], [], ["Bread", "Wine glasses"], "Grateful"),
    ]),
    ("Aviation", "Cockpit view of a landing in Innsbruck.", [
        ("Approach", ["The plane flies between snowy mountains", "The co-pilot reads out the checklist"], [], ["Airbus A320 cockpit", "Checklist"], "Focused"),
        ("Landing", ["The wheels touch the runway. Passengers clap."], [], ["Runway"], "Relieved"),
        ("Taxiing", ["The plane follows a yellow car to the gate"], [], ["Follow-me car"], "None"),
    ]),
    ("Religion", "A wedding in an old church in Kraków.", [
        ("Ceremony", ["The bride walks down the aisle with her father", "The priest delivers a speech", "The couple exchange rings"], [], ["Rings", "St. Mary's altar"], "Solemn"),
        ("Kiss", ["They kiss"], [], [], "Romantic (guests cheer)"),
        ("Party", ["Guests dance in a circle; the groom is lifted on a chair"], [], ["Accordion"], "Festive"),
    ]),
    ("Fishing", "The metadata describes a fishing trip on Lake Erie.", [
        ("The Catch", ["A man in a Bass Pro Shops cap reels in a walleye", "He holds it up and claims it is a record"], [], ["Bass Pro Shops cap", "Fishing rods"], "Proud"),
        ("Release", ["He lets the fish swim away"], [], ["Landing net"], "Peaceful"),
        ("untitled", ["N/A"], ["N/A"], ["N/A"], "N/A"),
    ]),
    ("Language", "A teacher explains French verbs with flash cards.", [
        ("être", ["The teacher holds up a card with \"je suis\". She repeats it slowly.", "Students repeat after her"], [], ["Flash cards"], "Patient"),
        ("Quiz", ["A student writes «tu es» on the board", "The teacher praises him"], [], ["Whiteboard"], "Encouraging"),
        ("Homework", ["The teacher assigns homework"], ["Homework is mentioned."], [], "Neutral"),
    ]),
    ("Dance", "A street dance battle in Queensland filmed by the police.", [
        ("Round One", ["A dancer spins on his head", "the crowd forms a circle"], [], ["Boombox", "Queensland Police car"], "Wild"),
        ("Round Two", ["Two girls dance in sync. One of them does a backflip. The MC announces the winner."], [], ["WWE belt", "Adidas tracksuits"], "Competitive (yet friendly, loud)"),
        ("Closing", ["Everybody hugs"], [], ["WWE belt"], "United"),
    ]),
]  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """Each as a row, its scenes a third of a minute long."""
    made = []
    for index, (category, description, scenes) in enumerate(NOTES):
        one = row(index, 60)
        one["content_fine_category"] = category
        one["content_metadata"]["description"] = description
        one["content_metadata"]["scenes"] = [
            _scene(number, *note) for number, note in enumerate(scenes)
        ]
        made.append(one)
    return made


def _scene(
    number: int, title: str, activities: list[str], narrative: list[str], props: list[str], mood: str
) -> dict[str, Any]:  # fmt: skip
    start_s, step_s = 20 * number, 20 / max(1, len(activities))
    return {
        "sceneId": number + 1,
        "title": title,
        "timestamps": span(start_s, start_s + 20),
        "cast": [],
        "activities": [
            {"description": text, "timestamp": span(start_s + i * step_s, start_s + (i + 1) * step_s)}
            for i, text in enumerate(activities)
        ],
        "props": [{"name": name, "timestamp": span(start_s, None)} for name in props],
        "mood": {"description": mood, "keyMoments": []},
        "narrativeProgression": [{"description": text, "timestamp": None} for text in narrative],
    }  # fmt: skip
